//! Charts as SVG, by hand: bars for one run, lines for many.

use std::fmt::Write as _;

use crate::report::Report;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 190.0;
const BAR: f64 = 13.0;
const HEAD: f64 = 54.0;

/// CPU time per query of every server in every scenario.
pub(crate) fn bars(report: &Report) -> String {
    let most = report.results.iter().map(|result| result.cpu()).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 70.0) / most;
    let mut body = String::new();
    let mut y = HEAD;
    for scenario in report.scenarios() {
        let _ = writeln!(
            body,
            r#"<text x="8" y="{:.0}" font-weight="bold">{scenario}</text>"#,
            y + BAR - 2.0
        );
        for result in report.of(scenario) {
            let cpu = result.cpu();
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y:.0}" width="{:.1}" height="{:.0}" fill="{}"/><text x="{:.1}" y="{:.0}">{cpu:.1}</text>"#,
                LEFT - 6.0,
                y + BAR - 2.0,
                result.server,
                cpu * scale,
                BAR - 2.0,
                colour(&result.server),
                LEFT + cpu * scale + 4.0,
                y + BAR - 2.0,
            );
            y += BAR;
        }
        y += BAR;
    }
    let machine = &report.machine;
    let note = format!(
        "{} UTC, commit {}, {} x {}",
        machine.date, machine.commit, machine.cpus, machine.processor
    );
    page("Server CPU time per query in microseconds (median; less is better)", &note, y, &body)
}

/// One line per label over the runs; `points` are values from the oldest run to the newest, `None` where there is none.
pub(crate) fn lines(title: &str, note: &str, lines: &[(String, Vec<Option<f64>>)]) -> String {
    const HEIGHT: f64 = 300.0;
    let values = || lines.iter().flat_map(|(_, points)| points.iter().flatten().copied());
    let most = values().fold(1.0, f64::max) * 1.05;
    let runs = lines.iter().map(|(_, points)| points.len()).max().unwrap_or(0);
    let step = (WIDTH - LEFT - 150.0) / (runs.max(2) - 1) as f64;
    let x = |index: usize| LEFT + step * index as f64;
    let y = |value: f64| HEAD + HEIGHT * (1.0 - value / most);
    let mut body = String::new();
    for tick in 0..=4 {
        let value = most * f64::from(tick) / 4.0;
        let _ = writeln!(
            body,
            r##"<line x1="{LEFT}" x2="{:.0}" y1="{:.1}" y2="{:.1}" stroke="#ddd"/><text x="{:.0}" y="{:.1}" text-anchor="end">{value:.2}</text>"##,
            WIDTH - 150.0,
            y(value),
            y(value),
            LEFT - 6.0,
            y(value) + 4.0
        );
    }
    for (number, (label, points)) in lines.iter().enumerate() {
        let colour = PALETTE[number % PALETTE.len()];
        let path: Vec<String> = points
            .iter()
            .enumerate()
            .filter_map(|(index, value)| Some(format!("{:.1},{:.1}", x(index), y((*value)?))))
            .collect();
        let _ = writeln!(
            body,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points="{}"/>"#,
            path.join(" ")
        );
        let last = points.iter().rev().flatten().next().copied().unwrap_or(0.0);
        let _ = writeln!(
            body,
            r#"<text x="{:.0}" y="{:.0}" fill="{colour}">{label} {last:.2}</text>"#,
            WIDTH - 144.0,
            HEAD + 14.0 * number as f64
        );
    }
    page(title, note, HEAD + HEIGHT.max(14.0 * lines.len() as f64), &body)
}

const PALETTE: [&str; 8] =
    ["#1b6ca8", "#c8553d", "#588b8b", "#8f5fbf", "#b58900", "#4d7c0f", "#be185d", "#475569"];

fn colour(server: &str) -> &'static str {
    match server {
        "periplus" => "#1b6ca8",
        "coredns" => "#c8553d",
        "floor" => "#9aa0a6",
        "nsd" => "#588b8b",
        _ => "#8fb8a8",
    }
}

fn page(title: &str, note: &str, bottom: f64, body: &str) -> String {
    let height = bottom + 12.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
<text x="8" y="20" font-size="15">{title}</text>
<text x="8" y="37" fill="#666">{note}</text>
{body}</svg>
"##
    )
}
