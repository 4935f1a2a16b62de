//! Attacks by name: `pgd:linf:8/255:20`, `fgsm:linf:8/255`, with options behind them.

use std::fmt;
use std::str::FromStr;

use super::{Evaluate, Number};
use crate::attack::ClassifierLoss;
use crate::ops::Norm;
use crate::{Error, Result};

/// Longest attack, and most repetitions of one.
const MOST_STEPS: u32 = 1_000_000;
const MOST_RESTARTS: u32 = 1000;

/// Norms by name, with the radius beyond which a ball holds every image.
const NORMS: [(&str, Norm, f64); 3] = [("linf", Norm::Linf, 1.0), ("l2", Norm::L2, 56.0), ("l1", Norm::L1, 3072.0)];

/// Losses by name.
const LOSSES: [(&str, ClassifierLoss); 3] =
    [("ce", ClassifierLoss::CrossEntropy), ("margin", ClassifierLoss::Margin), ("kl", ClassifierLoss::KlDivergence)];

/// An attack on a classifier, as evaluation is asked for it.
///
/// Written `pgd:NORM:EPSILON:STEPS` or `fgsm:NORM:EPSILON`, NORM being `linf`, `l2` or `l1`, and any of these behind it: `:step=NUMBER`,
/// `:start=random` or `:start=image`, `:restarts=N`, and what it increases, `:ce`, `:margin` or `:kl`; `:eot` goes through the expectation
/// over the views of a smoothed classifier. Left out, they are
///
/// | | `pgd` | `fgsm` |
/// |---|---|---|
/// | step | ε/10 for `linf`, as in the paper; 2.5 ε/steps for `l2` and `l1`, with which every point of the ball can be reached from every other (Madry et al. 2018) | ε |
/// | start | random | image |
/// | restarts | 1 | 1 |
/// | loss | cross-entropy | cross-entropy |
///
/// Radii and steps are in units of the pixel range [0, 1], and lengths those of a whole image. [`Display`](fmt::Display) writes the
/// shortest name, so that equal attacks have equal names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedAttack {
    /// What the perturbation is bounded in.
    pub norm: Norm,
    /// Radius of the ball, ε.
    pub epsilon: Number,
    /// Steps; absent for the fast gradient method, which takes one of ε.
    pub steps: Option<u32>,
    /// Step size, α.
    pub step_size: Number,
    /// Start at a uniformly random point of the ball instead of at the image.
    pub random_start: bool,
    /// How often it is carried out, with other noise; each image keeps the worst.
    pub restarts: u32,
    /// What is increased.
    pub loss: ClassifierLoss,
    /// Through the expectation over random views, of a classifier that is smoothed by them.
    pub expectation: bool,
}

impl NamedAttack {
    /// With everything else as it is when left out.
    fn of(norm: Norm, epsilon: Number, steps: Option<u32>) -> Self {
        let step_size = match (norm, steps) {
            (_, None) => epsilon,
            (Norm::Linf, Some(_)) => epsilon.tenth(),
            (Norm::L2 | Norm::L1, Some(steps)) => epsilon.times(5, 2 * steps),
        };
        Self {
            norm,
            epsilon,
            steps,
            step_size,
            random_start: steps.is_some(),
            restarts: 1,
            loss: ClassifierLoss::CrossEntropy,
            expectation: false,
        }
    }

    /// Refuses a list that has an attack twice: results are told apart by the names of their attacks.
    ///
    /// # Errors
    /// [`Error::Usage`] with the attack.
    pub fn all_different(attacks: &[Self]) -> Result<()> {
        let again = attacks.iter().enumerate().find(|(place, attack)| attacks[..*place].contains(attack));
        again.map_or(Ok(()), |(_, attack)| Err(Error::Usage(format!("attack `{attack}` is there twice; leave one out"))))
    }

    /// The radius at which the ball holds every image.
    fn widest(&self) -> f64 {
        NORMS.iter().find(|(_, norm, _)| *norm == self.norm).map_or(0.0, |(.., most)| *most)
    }

    /// The name of its norm.
    pub fn norm_name(&self) -> &'static str {
        NORMS.iter().find(|(_, norm, _)| *norm == self.norm).map_or("", |(name, ..)| name)
    }

    /// The name of its loss.
    pub fn loss_name(&self) -> &'static str {
        LOSSES.iter().find(|(_, loss)| *loss == self.loss).map_or("", |(name, _)| name)
    }

    /// For people, such as `PGD-20, L∞ 8/255, step 8/2550`.
    pub fn title(&self) -> String {
        let method = self.steps.map_or("FGSM".to_owned(), |steps| format!("PGD-{steps}"));
        let norm = match self.norm {
            Norm::Linf => "L∞",
            Norm::L2 => "L2",
            Norm::L1 => "L1",
        };
        let step = self.steps.map(|_| format!("step {}", self.step_size));
        let loss = (self.loss != ClassifierLoss::CrossEntropy).then(|| self.loss_name().to_owned());
        let start = (self.random_start != self.steps.is_some())
            .then(|| if self.random_start { "random start" } else { "from the image" }.to_owned());
        let restarts = (self.restarts > 1).then(|| format!("{} restarts", self.restarts));
        let through = self.expectation.then(|| "through the expectation".to_owned());
        let parts = [Some(format!("{norm} {}", self.epsilon)), step, loss, start, restarts, through];
        std::iter::once(method).chain(parts.into_iter().flatten()).collect::<Vec<_>>().join(", ")
    }

    /// Makes sure that all of `attacks` have something to increase with so many classes.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that compares classes where there is only one.
    pub fn check_classes(attacks: &[Self], classes: usize) -> Result<()> {
        match attacks.iter().find(|attack| classes == 1 && attack.loss == ClassifierLoss::Margin) {
            Some(attack) => Err(Error::Usage(format!(
                "attack `{attack}` compares classes, and the data have only one; increase the cross-entropy instead (:ce)"
            ))),
            None => Ok(()),
        }
    }

    /// Reads one option.
    fn set(&mut self, option: &str) -> Result<(), String> {
        if let Some((_, loss)) = LOSSES.iter().find(|(name, _)| *name == option) {
            self.loss = *loss;
            return Ok(());
        }
        if option == "eot" {
            self.expectation = true;
            return Ok(());
        }
        match option.split_once('=') {
            Some(("step", _)) if self.steps.is_none() => {
                return Err("fgsm takes one step of its radius; use pgd to choose another".to_owned());
            }
            Some(("step", number)) => {
                self.step_size = number.parse::<Number>().map_err(|error| error.to_string())?;
                // Beyond it every step ends on the ball, and larger ones leave the range of f32.
                let most = self.widest();
                if !(0.0..=most).contains(&self.step_size.value()) {
                    return Err(format!("a step of {number} is not between 0 and {most}, which leads through every image"));
                }
            }
            Some(("start", "random")) => self.random_start = true,
            Some(("start", "image")) => self.random_start = false,
            Some(("start", other)) => {
                return Err(format!("start={other} is unknown; attacks start at `random` or at the `image`"));
            }
            Some(("restarts", count)) => {
                let restarts = count.parse().ok().filter(|restarts| (1..=MOST_RESTARTS).contains(restarts));
                self.restarts = restarts.ok_or_else(|| format!("restarts={count} is no count between 1 and {MOST_RESTARTS}"))?;
            }
            _ => {
                return Err(format!(
                    "`{option}` is no option of an attack; they are step=NUMBER, start=random, start=image, restarts=N, ce, margin, kl and eot"
                ));
            }
        }
        Ok(())
    }

    /// Refuses what would be no attack.
    fn check(&self) -> Result<(), String> {
        if self.restarts > 1 && !self.random_start {
            return Err("from start=image all restarts are one attack; use start=random".to_owned());
        }
        if self.loss == ClassifierLoss::KlDivergence && !self.random_start {
            return Err("the gradient of kl is zero at the image; use start=random".to_owned());
        }
        Ok(())
    }
}

/// What an option is about: each can be said once.
fn topic(option: &str) -> &str {
    if LOSSES.iter().any(|(name, _)| *name == option) { "loss" } else { option.split('=').next().unwrap_or_default() }
}

impl From<&Evaluate> for NamedAttack {
    /// The attack that a recipe asks for.
    fn from(settings: &Evaluate) -> Self {
        let &Evaluate { epsilon, step_size, steps, random_start, .. } = settings;
        Self { step_size, random_start, ..Self::of(Norm::Linf, epsilon, Some(steps)) }
    }
}

impl fmt::Display for NamedAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::of(self.norm, self.epsilon, self.steps);
        match self.steps {
            Some(steps) => write!(f, "pgd:{}:{}:{steps}", self.norm_name(), self.epsilon)?,
            None => write!(f, "fgsm:{}:{}", self.norm_name(), self.epsilon)?,
        }
        if self.step_size != usual.step_size {
            write!(f, ":step={}", self.step_size)?;
        }
        if self.random_start != usual.random_start {
            write!(f, ":start={}", if self.random_start { "random" } else { "image" })?;
        }
        if self.restarts != usual.restarts {
            write!(f, ":restarts={}", self.restarts)?;
        }
        if self.loss != usual.loss {
            write!(f, ":{}", self.loss_name())?;
        }
        if self.expectation {
            f.write_str(":eot")?;
        }
        Ok(())
    }
}

impl FromStr for NamedAttack {
    type Err = Error;

    /// # Errors
    /// [`Error::Usage`] that says which part of the name is wrong, and what could stand there.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |what: String| Error::Usage(format!("attack `{text}`: {what}"));
        let mut parts = text.split(':');
        let method = parts.next().unwrap_or_default();
        if !matches!(method, "pgd" | "fgsm") {
            return Err(refuse(format!("`{method}` is unknown; attacks are pgd and fgsm, as in pgd:linf:8/255:20")));
        }
        let name = parts.next().unwrap_or_default();
        if name.is_empty() {
            return Err(refuse(format!("the norm is missing; write {method}:linf:8/255, {method}:l2:0.5 or {method}:l1:12")));
        }
        let norm = NORMS.iter().find(|(known, ..)| *known == name);
        let &(_, norm, most) = norm.ok_or_else(|| refuse(format!("`{name}` is no norm; norms are linf, l2 and l1")))?;
        let radius = parts.next().ok_or_else(|| refuse(format!("the radius is missing; write {method}:{name}:8/255")))?;
        let epsilon: Number = radius.parse().map_err(|error: Error| refuse(error.to_string()))?;
        if !(0.0..=most).contains(&epsilon.value()) {
            return Err(refuse(format!("a radius of {radius} is not between 0 and {most}, where the ball holds every image")));
        }
        let steps = match method {
            "pgd" => {
                let count =
                    parts.next().ok_or_else(|| refuse("the number of steps is missing; append one, such as :20".to_owned()))?;
                let steps = count.parse().ok().filter(|steps| (1..=MOST_STEPS).contains(steps));
                Some(
                    steps
                        .ok_or_else(|| refuse(format!("`{count}` is no number of steps; give one between 1 and {MOST_STEPS}")))?,
                )
            }
            _ => None,
        };
        let mut attack = Self::of(norm, epsilon, steps);
        let mut given = Vec::new();
        for option in parts {
            let what = topic(option);
            if given.contains(&what) {
                return Err(refuse(format!("`{option}` says again what was said before; leave one out")));
            }
            given.push(what);
            attack.set(option).map_err(refuse)?;
        }
        attack.check().map_err(refuse)?;
        Ok(attack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NamedAttack {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let pgd = read("pgd:linf:8/255:20");
        assert_eq!((pgd.norm, pgd.epsilon, pgd.steps), (Norm::Linf, Number::Fraction(8, 255), Some(20)));
        assert_eq!((pgd.step_size, pgd.random_start, pgd.restarts), (Number::Fraction(8, 2550), true, 1));
        assert_eq!(pgd.loss, ClassifierLoss::CrossEntropy);
        assert_eq!(read("pgd:l2:128/255:20").step_size, Number::Fraction(640, 10200));
        assert_eq!(read("pgd:l1:12:20").step_size, Number::Decimal(1.5));
        let fgsm = read("fgsm:linf:8/255");
        assert_eq!((fgsm.steps, fgsm.step_size, fgsm.random_start), (None, Number::Fraction(8, 255), false));
    }

    #[test]
    fn a_name_is_written_as_it_was_read_but_for_what_goes_without_saying() {
        for text in [
            "pgd:linf:8/255:20",
            "pgd:l2:0.5:100:step=0.01:start=image",
            "pgd:l1:12:20:restarts=5:margin",
            "pgd:linf:0.0314:7:kl",
            "pgd:linf:8/255:20:margin:eot",
            "fgsm:linf:8/255",
            "fgsm:l2:0.5:start=random:restarts=3",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(read("pgd:linf:8/255:20:ce:restarts=1:start=random:step=8/2550").to_string(), "pgd:linf:8/255:20");
        assert_eq!(read("pgd:linf:8/255:20:margin:restarts=2").to_string(), "pgd:linf:8/255:20:restarts=2:margin");
    }

    #[test]
    fn one_class_has_no_margin() {
        let attacks = ["pgd:linf:8/255:20", "pgd:linf:8/255:20:margin"].map(read);
        NamedAttack::check_classes(&attacks, 2).unwrap();
        NamedAttack::check_classes(&attacks[..1], 1).unwrap();
        let message = NamedAttack::check_classes(&attacks, 1).unwrap_err().to_string();
        assert!(message.starts_with("attack `pgd:linf:8/255:20:margin` compares classes"), "{message}");
    }

    #[test]
    fn every_mistake_has_its_sentence() {
        for (text, expected) in [
            ("", "`` is unknown; attacks are pgd and fgsm, as in pgd:linf:8/255:20"),
            ("cw:l2:1", "`cw` is unknown"),
            ("pgd", "the norm is missing; write pgd:linf:8/255, pgd:l2:0.5 or pgd:l1:12"),
            ("pgd:l3:1:20", "`l3` is no norm"),
            ("pgd:l2", "the radius is missing; write pgd:l2:8/255"),
            ("pgd:l2:half:20", "`half` is not a number; write a decimal such as 0.0314"),
            ("pgd:linf:8:20", "a radius of 8 is not between 0 and 1"),
            ("pgd:l1:-1:20", "a radius of -1 is not between 0 and 3072"),
            ("pgd:l2:0.5", "the number of steps is missing; append one, such as :20"),
            ("pgd:l2:0.5:0", "`0` is no number of steps; give one between 1 and 1000000"),
            ("pgd:l2:0.5:margin", "`margin` is no number of steps"),
            ("pgd:l2:0.5:20:fast", "`fast` is no option of an attack; they are step=NUMBER"),
            ("pgd:l2:0.5:20:step=x", "`x` is not a number"),
            ("pgd:l2:0.5:20:step=-1", "a step of -1 is not between 0 and 56, which leads through every image"),
            ("pgd:linf:8/255:20:step=1e300", "a step of 1e300 is not between 0 and 1"),
            ("pgd:l2:0.5:20:step=1:step=2", "`step=2` says again what was said before; leave one out"),
            ("pgd:l2:0.5:20:margin:kl", "`kl` says again what was said before"),
            ("pgd:l2:0.5:20:start=here", "start=here is unknown; attacks start at `random` or at the `image`"),
            ("pgd:l2:0.5:20:restarts=0", "restarts=0 is no count between 1 and 1000"),
            ("pgd:l2:0.5:20:restarts=2:start=image", "from start=image all restarts are one attack"),
            ("pgd:l2:0.5:20:kl:start=image", "the gradient of kl is zero at the image"),
            ("fgsm:linf:8/255:20", "`20` is no option of an attack"),
            ("fgsm:linf:8/255:step=1/255", "fgsm takes one step of its radius; use pgd to choose another"),
            ("fgsm:linf:8/255:restarts=2", "from start=image all restarts are one attack"),
        ] {
            let error = text.parse::<NamedAttack>().expect_err(text);
            let message = error.to_string();
            assert!(message.starts_with(&format!("attack `{text}`: ")) && message.contains(expected), "{message}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
