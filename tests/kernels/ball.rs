//! `kernels/pgd_l2.cu` and `kernels/pgd_l1.cu`: against projections that sort the breakpoints instead of halving, in f64.

use crate::support::*;
use rocl::element::Real;
use rocl::ops::{self, L1_STEP_SUPPORT, Norm, PgdStep};
use rocl::{Device, Tensor};

const PIXELS: usize = 3072;

/// One image: where the attack is, the gradient there, and the image that it began at.
#[derive(Clone)]
struct Case {
    x: Vec<f64>,
    gradient: Vec<f64>,
    clean: Vec<f64>,
}

/// Images of which every tenth number is 0 or 1, attacked so far by up to `reach` per number.
fn case(seed: u64, reach: f64) -> Case {
    let mut clean = uniform(seed, PIXELS, 0.0, 1.0);
    clean.iter_mut().step_by(20).for_each(|c| *c = 0.0);
    clean.iter_mut().skip(10).step_by(20).for_each(|c| *c = 1.0);
    let change = uniform(seed + 100, PIXELS, -1.0, 1.0);
    let x = clean.iter().zip(change).map(|(c, d)| (c + reach * d).clamp(0.0, 1.0)).collect();
    let mut gradient = uniform(seed + 200, PIXELS, -1.0, 1.0);
    gradient.iter_mut().step_by(7).for_each(|g| *g = 0.0);
    let rounded = |values: Vec<f64>| values.into_iter().map(|v| f64::from(v as f32)).collect();
    Case { x: rounded(x), gradient: rounded(gradient), clean: rounded(clean) }
}

/// Cases of every kind: small and large changes, gradients far beyond what can be squared in f32, with ties, zero, and not finite.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [0.0, 0.001, 0.02, 0.5].into_iter().zip(1..).map(|(reach, seed)| case(seed, reach)).collect();
    let altered = |seed, f: fn(f64) -> f64| {
        let mut case = case(seed, 0.02);
        case.gradient.iter_mut().for_each(|g| *g = f64::from(f(*g) as f32));
        case
    };
    cases.push(altered(11, |g| g * 1e30));
    cases.push(altered(12, |g| g * 1e-30));
    cases.push(altered(13, |g| (g * 4.0).round()));
    cases.push(altered(14, |_| 0.0));
    cases.push(altered(15, |g| if g > 0.999 { g } else { 0.0 }));
    cases.push(altered(16, |g| if g > 0.9 { f64::NAN } else { g }));
    cases
}

fn flat(cases: &[Case], part: fn(&Case) -> &Vec<f64>) -> Vec<f64> {
    cases.iter().flat_map(part).copied().collect()
}

fn room(clean: f64, offset: f64) -> f64 {
    if offset > 0.0 { 1.0 - clean } else { clean }
}

/// How far each number moves at most, and how far it is wanted to.
fn lengths(clean: &[f64], offset: &[f64]) -> Vec<(f64, f64)> {
    clean.iter().zip(offset).map(|(&c, &d)| (d.abs(), room(c, d))).collect()
}

/// The nearest point of the L2 ball and of [0, 1]: from one number that meets its bound to the next, until the ball's surface lies between two.
fn nearest_in_l2(clean: &[f64], offset: &[f64], radius: f64) -> Vec<f64> {
    let lengths = lengths(clean, offset);
    let mut bounds: Vec<(f64, f64, f64)> =
        lengths.iter().filter(|(d, _)| *d > 0.0).map(|&(d, room)| (room / d, d * d, room * room)).collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut bounded, mut free) = (0.0, sum(bounds.iter().map(|b| b.1)));
    let mut s = 1.0;
    for &(bound, d, room) in &bounds {
        let surface = ((radius * radius - bounded).max(0.0) / free).sqrt();
        if surface <= bound {
            s = surface;
            break;
        }
        bounded += room;
        free -= d;
    }
    let s = s.min(1.0);
    clean.iter().zip(offset).map(|(c, d)| (c + s * d).clamp(0.0, 1.0)).collect()
}

/// The same for L1: the sum of changes is linear in t between two of the places where a number stops or starts to move.
fn nearest_in_l1(clean: &[f64], offset: &[f64], radius: f64) -> Vec<f64> {
    let lengths = lengths(clean, offset);
    let total = |t: f64| sum(lengths.iter().map(|&(d, room)| (d - t).clamp(0.0, room)));
    let mut t = 0.0;
    if total(0.0) > radius {
        let mut places: Vec<f64> = lengths.iter().flat_map(|&(d, room)| [d, d - room]).filter(|t| *t > 0.0).collect();
        places.push(0.0);
        places.sort_by(f64::total_cmp);
        let above = places.partition_point(|&t| total(t) > radius);
        let (low, high) = (places[above - 1], places[above]);
        let (most, least) = (total(low), total(high));
        t = low + (high - low) * (most - radius) / (most - least);
    }
    let soft = |d: f64| d.signum() * (d.abs() - t).max(0.0);
    clean.iter().zip(offset).map(|(&c, &d)| (c + soft(d)).clamp(0.0, 1.0)).collect()
}

fn l2_step(case: &Case, size: f64, radius: f64) -> Vec<f64> {
    let norm = sum(case.gradient.iter().map(|g| g * g)).sqrt();
    let scale = if norm > 0.0 && norm.is_finite() { size / norm } else { 0.0 };
    let moved = case.x.iter().zip(&case.gradient).map(|(x, g)| if scale == 0.0 { *x } else { x + scale * g });
    let offset: Vec<f64> = moved.zip(&case.clean).map(|(y, c)| y - c).collect();
    nearest_in_l2(&case.clean, &offset, radius)
}

/// By sorting all gradients.
fn l1_step(case: &Case, size: f64, radius: f64) -> Vec<f64> {
    let may_move = |i: &usize| {
        let (x, g) = (case.x[*i], case.gradient[*i]);
        g > 0.0 && x < 1.0 || g < 0.0 && x > 0.0
    };
    let mut chosen: Vec<usize> = (0..PIXELS).filter(may_move).collect();
    // A stable sort: equal ones stay in their order.
    chosen.sort_by(|a, b| case.gradient[*b].abs().total_cmp(&case.gradient[*a].abs()));
    chosen.truncate(L1_STEP_SUPPORT);
    let mut offset: Vec<f64> = case.x.iter().zip(&case.clean).map(|(x, c)| x - c).collect();
    for &i in &chosen {
        offset[i] += case.gradient[i].signum() * size / chosen.len() as f64;
    }
    nearest_in_l1(&case.clean, &offset, radius)
}

fn distance(norm: Norm, x: &[f64], clean: &[f64]) -> f64 {
    let apart = x.iter().zip(clean).map(|(x, c)| (x - c).abs());
    match norm {
        Norm::Linf => apart.fold(0.0, f64::max),
        Norm::L2 => sum(apart.map(|d| d * d)).sqrt(),
        Norm::L1 => sum(apart),
    }
}

fn taken<R: Real>(device: &Device, cases: &[Case], step: &PgdStep<R>) -> Vec<R> {
    let shape = [cases.len(), 32, 32, 3];
    let parts: [fn(&Case) -> &Vec<f64>; 3] = [|case| &case.x, |case| &case.gradient, |case| &case.clean];
    let [x, gradient, clean] = parts.map(|part| upload::<R, 4>(device, shape, &flat(cases, part)));
    step.take(&x, &gradient, &clean).unwrap();
    x.to_vec().unwrap()
}

fn equals_the_oracle<R: Real>(norm: Norm, sizes: [(f64, f64); 4], oracle: fn(&Case, f64, f64) -> Vec<f64>) {
    let cases = cases();
    for (size, radius) in sizes {
        let step = PgdStep::<R>::new(norm, size, radius);
        assert!(step.radius.to_f64() <= radius && step.radius.to_f64() >= radius * (1.0 - 2e-7));
        let bits = same_bits_everywhere(|device| taken(device, &cases, &step));
        for (index, (found, case)) in widened(&bits).chunks(PIXELS).zip(&cases).enumerate() {
            let what = format!("{norm:?}, step {size} within {radius}, case {index}");
            let expected = oracle(case, size, radius);
            // Inputs, sums and result are rounded once each; s or t is an f32, in f64 too, and the last one that is inside.
            assert_close(&what, found, &expected, 8.0 * rounding::<f32>(), 1.0);
            // What is stored is inside; f64 adds 3072 numbers up to 1e-13.
            let distance = distance(norm, found, &case.clean);
            assert!(distance <= radius * (1.0 + 1e-12), "{what}: {distance}");
            assert!(found.iter().all(|x| (0.0..=1.0).contains(x)), "{what}");
        }
    }
}

#[test]
fn l2_steps_equal_the_oracle_and_end_inside() {
    let sizes = [(0.0625, 0.5), (0.025, 0.25), (2.0, 3.0), (0.1, 0.0)];
    equals_the_oracle::<f32>(Norm::L2, sizes, l2_step);
    equals_the_oracle::<f64>(Norm::L2, sizes, l2_step);
}

#[test]
fn l1_steps_equal_the_oracle_and_end_inside() {
    let sizes = [(1.5, 12.0), (0.784, 7.84), (30.0, 40.0), (0.1, 0.0)];
    equals_the_oracle::<f32>(Norm::L1, sizes, l1_step);
    equals_the_oracle::<f64>(Norm::L1, sizes, l1_step);
}

/// Without a step, a projection: twice is once, and where nothing has to be done nothing is.
#[test]
fn a_point_inside_stays_where_it_is() {
    for (norm, radius) in [(Norm::L2, 0.5), (Norm::L1, 12.0)] {
        let cases = [case(1, 0.02), case(2, 0.3), case(3, 1.0)];
        let step = PgdStep::<f32>::new(norm, 0.0, radius);
        let host = Device::host().unwrap();
        let once = taken(&host, &cases, &step);
        let again: Vec<Case> =
            cases.iter().zip(widened(&once).chunks(PIXELS)).map(|(case, x)| Case { x: x.to_vec(), ..case.clone() }).collect();
        let twice = taken(&host, &again, &step);
        // clean + (x − clean) is x but for a rounding or two.
        assert_close("x", &widened(&twice), &widened(&once), 2.0 * rounding::<f32>(), 1.0);
        let clean = |case: &Case| Case { x: case.clean.clone(), ..case.clone() };
        let still: Vec<Case> = cases.iter().map(clean).collect();
        assert_eq!(widened(&taken(&host, &still, &step)), flat(&still, |case| &case.clean), "{norm:?}");
    }
}

/// The step of an image without a gradient near it: along the gradient, of the length asked for.
#[test]
fn steps_have_their_length() {
    let mut case = case(5, 0.0);
    case.clean.fill(0.5);
    case.x.fill(0.5);
    let host = Device::host().unwrap();
    for norm in [Norm::L2, Norm::L1] {
        let x = widened(&taken(&host, &[case.clone()], &PgdStep::<f32>::new(norm, 0.7, 1000.0)));
        // Up to 3072 roundings of numbers near 0.5, each 3e-8 at most.
        let length = distance(norm, &x, &case.clean);
        assert!((length - 0.7).abs() < 1e-4, "{norm:?}: {length}");
        let moved = x.iter().filter(|x| **x != 0.5).count();
        assert!(norm == Norm::L2 || moved == L1_STEP_SUPPORT, "{moved}");
    }
}

#[test]
fn steps_refuse_what_does_not_fit() {
    for_each_device(|device| {
        let image = |n: usize| Tensor::<f32>::zeros(device, [n, 32, 32, 3]).unwrap();
        let (a, b, c) = (image(2), image(2), image(3));
        for (norm, name) in [(Norm::L2, "pgd_l2_step"), (Norm::L1, "pgd_l1_step")] {
            let step = PgdStep::new(norm, 0.1, 0.1);
            let message = step.take(&a, &c, &b).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("`gradient` is [3, 32, 32, 3] but `x` is"), "{message}");
            let flat = Tensor::zeros(device, [2, 3072]).unwrap();
            let message = step.take(&flat, &flat.clone(), &flat.clone()).unwrap_err().to_string();
            assert!(message.contains("`x` is [2, 3072] but must be [2, 32, 32, 3]"), "{message}");
            let message = step.take(&a, &a.clone(), &b).unwrap_err().to_string();
            assert!(message.contains("overlap in memory"), "{message}");
        }
        ops::pgd_l2_step(&a, &b, &image(2), 0.1, 0.1).unwrap();
    });
}
