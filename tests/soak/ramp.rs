//! How much a server can answer.

/// Steps at the most; each offers twice as much as the one before.
const STEPS: u32 = 16;
const FIRST: f64 = 100.0;

/// What a ramp found, in questions a second.
pub(crate) struct Ramp {
    /// The most good answers.
    pub(crate) peak: f64,
    /// The first rate that was too much.
    pub(crate) saturation: f64,
}

/// Offers more and more until less than four fifths of what should be answered are. `offer` gives for a rate the good answers a second, and
/// what they should have been.
pub(crate) fn ramp(mut offer: impl FnMut(f64) -> (f64, f64)) -> Ramp {
    let mut peak = 0.0_f64;
    for step in 0..STEPS {
        let rate = FIRST * f64::from(2_u32.pow(step));
        let (goodput, wanted) = offer(rate);
        peak = peak.max(goodput);
        if goodput < 0.8 * wanted {
            return Ramp { peak, saturation: rate };
        }
    }
    panic!("the server keeps up with {FIRST} x 2^{STEPS} questions a second");
}
