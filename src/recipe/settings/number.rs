//! A number written as a decimal or as an exact fraction.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A number that has more characters than this is written with an exponent: all 17 digits of an f64 fit, and some zeros before them.
const MOST_DIGITS: usize = 24;

/// A number written as a decimal (`0.0314`) or as an exact fraction (`"8/255"`).
///
/// Perturbation sizes are multiples of 1/255, the step between two pixel values. The fraction is kept as written, so that reports
/// and checkpoints state the very budget that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A decimal number.
    Decimal(f64),
    /// Numerator and denominator; the denominator is not 0.
    Fraction(u32, u32),
}

impl Number {
    /// A tenth of it: the usual step of an attack within this radius.
    pub fn tenth(self) -> Self {
        self.times(1, 10)
    }

    /// `numerator`/`denominator` of it, the denominator not being 0; a fraction stays one where it can be written.
    pub fn times(self, numerator: u32, denominator: u32) -> Self {
        let fraction = match self {
            Self::Fraction(n, d) => n.checked_mul(numerator).zip(d.checked_mul(denominator)),
            Self::Decimal(_) => None,
        };
        let decimal = || Self::Decimal(as_written(self.value() * f64::from(numerator) / f64::from(denominator)));
        fraction.map_or_else(decimal, |(n, d)| Self::Fraction(n, d))
    }

    /// The value, rounded once to f64.
    pub fn value(self) -> f64 {
        match self {
            Self::Decimal(value) => value,
            Self::Fraction(numerator, denominator) => f64::from(numerator) / f64::from(denominator),
        }
    }
}

/// To the 15 digits that an f64 always has: 0.98, where arithmetic has come to 0.9800000000000001.
fn as_written(value: f64) -> f64 {
    format!("{value:.14e}").parse().unwrap_or(value)
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal(value) => match value.to_string() {
                digits if digits.len() <= MOST_DIGITS => f.write_str(&digits),
                _ => write!(f, "{value:e}"),
            },
            Self::Fraction(numerator, denominator) => write!(f, "{numerator}/{denominator}"),
        }
    }
}

impl FromStr for Number {
    type Err = Error;

    /// Reads `0.0314` or `8/255`.
    ///
    /// # Errors
    /// [`Error::Usage`] for any other text, a denominator of 0, NaN and infinity.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once('/') {
            Some((numerator, denominator)) => match (numerator.trim().parse(), denominator.trim().parse()) {
                (Ok(numerator), Ok(denominator)) if denominator != 0 => Some(Self::Fraction(numerator, denominator)),
                _ => None,
            },
            // Without the sign of -0, which nobody means.
            None => text.trim().parse().ok().filter(|value: &f64| value.is_finite()).map(|value| Self::Decimal(value + 0.0)),
        };
        parsed.ok_or_else(|| {
            Error::Usage(format!("`{text}` is not a number; write a decimal such as 0.0314 or a fraction such as 8/255"))
        })
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Decimal(value) => serializer.serialize_f64(*value),
            Self::Fraction(..) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 0.0314 or a fraction such as \"8/255\"")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Decimal(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Decimal(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::Decimal(value as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_and_fractions() {
        assert_eq!("8/255".parse::<Number>().unwrap(), Number::Fraction(8, 255));
        assert_eq!("8/255".parse::<Number>().unwrap().value(), 8.0 / 255.0);
        assert_eq!(" 0.0314 ".parse::<Number>().unwrap(), Number::Decimal(0.0314));
        for wrong in ["", "8/0", "8/", "/255", "-8/255", "8/255/2", "NaN", "inf", "eight"] {
            let message = wrong.parse::<Number>().unwrap_err().to_string();
            assert!(message.contains("8/255") && message.contains(wrong), "{message}");
        }
    }

    #[test]
    fn people_read_few_digits() {
        for (text, expected) in [
            ("0.0314", "0.0314"),
            ("1e-7", "0.0000001"),
            ("1e-300", "1e-300"),
            ("-0", "0"),
            ("0.010000000000000002", "0.010000000000000002"),
        ] {
            let number: Number = text.parse().unwrap();
            assert_eq!(number.to_string(), expected);
            assert_eq!(number.to_string().parse::<Number>().unwrap(), number);
        }
    }

    #[test]
    fn parts_of_decimals_have_few_digits_too() {
        let part = |text: &str, numerator, denominator| text.parse::<Number>().unwrap().times(numerator, denominator).to_string();
        assert_eq!([part("7.84", 5, 40), part("0.0314", 1, 10), part("8/255", 1, 10)], ["0.98", "0.00314", "8/2550"]);
    }

    #[test]
    fn is_written_as_it_was_read() {
        for text in ["\"8/255\"", "0.0314", "1e-7", "0.1"] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
    }
}
