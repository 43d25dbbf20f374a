//! How much a server can answer.

/// Doubling steps at the most.
const STEPS: u32 = 16;
const FIRST: f64 = 100.0;
/// Steps between the last rate that was carried and the first that was not: saturation is known to a fifth then.
const BETWEEN: usize = 2;

/// What a ramp found, in questions a second.
pub(crate) struct Ramp {
    /// The most good answers.
    pub(crate) peak: f64,
    /// The least rate that was too much.
    pub(crate) saturation: f64,
}

/// Offers more and more until less than four fifths of what should be answered are, and then something between. `offer` gives for a rate the
/// good answers a second, and what they should have been.
pub(crate) fn ramp(mut offer: impl FnMut(f64) -> (f64, f64)) -> Ramp {
    let mut peak = 0.0_f64;
    let mut is_too_much = |rate| {
        let (goodput, wanted) = offer(rate);
        peak = peak.max(goodput);
        goodput < 0.8 * wanted
    };
    let rates = (0..STEPS).map(|step| FIRST * f64::from(2_u32.pow(step)));
    let Some(mut saturation) = rates.into_iter().find(|rate| is_too_much(*rate)) else {
        panic!("the server keeps up with {FIRST} x 2^{} questions a second", STEPS - 1);
    };
    let mut carried = saturation / 2.0;
    for _ in 0..BETWEEN {
        let rate = (carried * saturation).sqrt();
        *(if is_too_much(rate) { &mut saturation } else { &mut carried }) = rate;
    }
    Ramp { peak, saturation }
}
