//! Quantities as people read them: three digits and a unit.

/// A duration.
pub fn seconds(value: f64) -> String {
    scaled(value, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")])
}

/// An amount of memory or traffic.
pub fn bytes(value: f64) -> String {
    scaled(value, &[(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")])
}

/// An amount of arithmetic.
pub fn flops(value: f64) -> String {
    scaled(value, &[(1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1.0, "FLOP")])
}

/// A share.
pub fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole)
}

/// How much more something is than expected, as a fraction of that.
pub fn signed_percent(fraction: f64) -> String {
    format!("{:+.0} %", 100.0 * fraction)
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    if value == 0.0 {
        return "–".to_owned();
    }
    let (scale, unit) = units.iter().find(|(scale, _)| value >= *scale).or(units.last()).copied().unwrap_or((1.0, ""));
    let value = value / scale;
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let cases = [
            (seconds(3.0e-6), "3.00 µs"),
            (seconds(0.0123), "12.3 ms"),
            (seconds(456.0), "456 s"),
            (seconds(1e-12), "0.00 ns"),
            (bytes(4.3e12), "4.30 TB"),
            (bytes(999.0), "999 B"),
            (flops(8.53e12), "8.53 TFLOP"),
            (flops(0.0), "–"),
            (percent(1.0, 3.0), "33.3 %"),
            (signed_percent(0.25), "+25 %"),
            (signed_percent(-0.5), "-50 %"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }
}
