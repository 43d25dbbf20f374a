//! The `loadbalance` directive.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{
    Diagnostic, Diagnostics, Directive, Line, Word, shown, unknown_property,
};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use super::handler::{LoadBalance, Policy, Settings};
use super::prefer::Subnet;
use super::weighted::{FileError, WeightFile};

/// How often the weight file is looked at.
const RELOAD: Duration = Duration::from_secs(30);
/// Looking more often than this would only heat the machine.
const LEAST_RELOAD: Duration = Duration::from_millis(10);

/// Reads the directives and makes the plugin. Of several policies the last counts; the networks of `prefer` add up.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut settings = Settings::default();
    let mut weighted = None;
    for directive in setup.directives {
        weighted = errors.take(read_policy(directive)).flatten();
        for line in directive.lines() {
            errors.take(read_option(line, weighted.as_mut(), &mut settings.prefer));
        }
    }
    if let Some(weighted) = weighted
        && !errors.has_errors()
    {
        errors.take(weighted.start(setup, &mut settings.policy));
    }
    errors.into_result(Some(Arc::new(LoadBalance(settings))))
}

/// `weighted` before its file was read.
struct Weighted<'a> {
    file: &'a Word,
    reload: Duration,
}

impl Weighted<'_> {
    /// Reads the file and has it watched. A file that is not there yet is waited for, if it is looked for at all.
    fn start(self, setup: &mut Setup<'_>, policy: &mut Policy) -> Result<(), Diagnostic> {
        let path = setup.block.path(&self.file.text);
        let mut file = WeightFile::new(path.clone());
        match file.update() {
            Ok(_) => {}
            Err(error @ FileError::Open(_)) if !self.reload.is_zero() => {
                let (path, reload) = (path.display(), self.reload);
                tracing::warn!("plugin/loadbalance: {path}: {error}. Will try again in {reload:?}");
            }
            Err(error) => return Err(self.file.error(format!("{}: {error}", path.display()))),
        }
        *policy = Policy::Weighted(file.weights());
        if !self.reload.is_zero() {
            let interval = self.reload.max(LEAST_RELOAD);
            setup.instance.spawn("loadbalance", move |stop| file.watch(interval, stop));
        }
        Ok(())
    }
}

/// `[round_robin | weighted WEIGHTFILE]`.
fn read_policy(directive: &Directive) -> Result<Option<Weighted<'_>>, Diagnostic> {
    let mut words = directive.words();
    let Some(policy) = words.next() else { return Ok(None) };
    match policy.text.as_str() {
        "round_robin" => match words.next() {
            Some(surplus) => Err(surplus.error("unknown property for round_robin")),
            None => Ok(None),
        },
        "weighted" => {
            let file = words.next().ok_or_else(|| {
                policy
                    .error("missing weight file argument")
                    .with_help("write 'weighted' and the name of the file")
            })?;
            match words.next() {
                Some(surplus) => Err(surplus.error("unexpected argument(s)")),
                None => Ok(Some(Weighted { file, reload: RELOAD })),
            }
        }
        other => Err(policy
            .error(format!("unknown policy: {}", shown(other)))
            .with_help("allowed here: round_robin, weighted")),
    }
}

fn read_option(
    line: &Line,
    weighted: Option<&mut Weighted<'_>>,
    prefer: &mut Vec<Subnet>,
) -> Result<(), Diagnostic> {
    match (line.name.text.as_str(), weighted) {
        ("reload", Some(weighted)) => {
            let mut words = line.words();
            let word = words.next().ok_or_else(|| {
                line.name
                    .error("reload duration value is missing")
                    .with_help("write '30s' after it")
            })?;
            words.end()?;
            weighted.reload = word.duration()?;
        }
        ("prefer", _) => {
            for word in &line.arguments {
                let subnet = Subnet::parse(&word.text).ok_or_else(|| {
                    word.error(format!("invalid CIDR \"{}\"", shown(&word.text)))
                        .with_help("write a network such as 10.0.0.0/8 or 2001:db8::/32")
                })?;
                prefer.push(subnet);
            }
        }
        (_, Some(_)) => return Err(unknown_property(&line.name, &["reload", "prefer"])),
        (_, None) => return Err(unknown_property(&line.name, &["prefer"])),
    }
    line.no_body()
}
