//! Whether one set of samples is larger than another, by their ranks alone.

/// Up to this many pairs the distribution under chance is counted out: of 32 samples beside 32 in a millisecond.
const MOST_COUNTED: usize = 1024;

/// The test of Mann & Whitney (1947), one-sided: how likely chance alone, were both from one distribution, would make `large` at least as large beside
/// `small` as it is. Whatever that distribution is; ties count against it. Of very many samples an upper bound (Hoeffding 1963, section 5b).
pub fn larger(small: &[f64], large: &[f64]) -> f64 {
    let mut sorted = small.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Pairs in which the large one is not the larger.
    let misplaced: usize = large.iter().map(|value| sorted.len() - sorted.partition_point(|other| other < value)).sum();
    let (a, b) = (small.len(), large.len());
    let pairs = a * b;
    if pairs <= MOST_COUNTED {
        let at_most = |misplaced| orders(a, b, misplaced) / choose(a + b, a);
        // The distribution is symmetric, and its nearer end the quicker one to count.
        return match pairs - misplaced {
            0 => 1.0,
            placed if placed < misplaced => 1.0 - at_most(placed - 1),
            _ => at_most(misplaced),
        };
    }
    let excess = (0.5 - misplaced as f64 / pairs as f64).max(0.0);
    (-2.0 * a.min(b) as f64 * excess * excess).exp()
}

/// The least that [`larger`] can say of so many samples, all of one set beyond all of the other.
pub fn least(small: usize, large: usize) -> f64 {
    if small * large <= MOST_COUNTED { 1.0 / choose(small + large, small) } else { (-0.5 * small.min(large) as f64).exp() }
}

/// How many orders of `a` small and `b` large samples have at most `misplaced` pairs in which the large one comes first.
fn orders(a: usize, b: usize, misplaced: usize) -> f64 {
    // By how many small ones are placed so far, and how many pairs are wrong.
    let mut ways = vec![vec![0.0; misplaced + 1]; a + 1];
    ways[0][0] = 1.0;
    for placed in 0..a + b {
        // Backwards, so that a row is read before it is changed: what stays in place is followed by a large one.
        for small in (0..=a.min(placed + 1)).rev() {
            if placed + 1 - small > b {
                ways[small].fill(0.0);
            }
            if small > 0 && placed + 1 - small <= b {
                let large = placed + 1 - small;
                for pairs in large..=misplaced {
                    let before = ways[small - 1][pairs - large];
                    ways[small][pairs] += before;
                }
            }
        }
    }
    ways[a].iter().sum()
}

fn choose(n: usize, k: usize) -> f64 {
    // In this order every product is a whole number.
    (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// By going through every choice of which of seven samples are the large ones.
    #[test]
    fn probabilities_are_shares_of_all_orders() {
        let (a, b) = (3_usize, 4_usize);
        let orders: Vec<(Vec<f64>, Vec<f64>)> = (0_u32..1 << (a + b))
            .filter(|chosen| chosen.count_ones() as usize == b)
            .map(|chosen| {
                let (large, small): (Vec<usize>, Vec<usize>) = (0..a + b).partition(|i| chosen >> i & 1 == 1);
                let values = |of: Vec<usize>| of.into_iter().map(|i| i as f64).collect();
                (values(small), values(large))
            })
            .collect();
        let wrong =
            |(small, large): &(Vec<f64>, Vec<f64>)| large.iter().map(|x| small.iter().filter(|y| *y > x).count()).sum::<usize>();
        for order in &orders {
            let as_far = orders.iter().filter(|other| wrong(other) <= wrong(order)).count();
            let expected = as_far as f64 / orders.len() as f64;
            // Sums of small whole numbers, divided once.
            assert!((larger(&order.0, &order.1) - expected).abs() < 1e-12, "{order:?}");
        }
        assert_eq!(least(a, b), 1.0 / orders.len() as f64);
    }

    /// Of equal samples nothing can be said; of many, the bound is on the safe side of a normal distribution's tail.
    #[test]
    fn ties_and_very_many_samples_are_on_the_safe_side() {
        assert!(larger(&[1.0; 9], &[1.0; 9]) > 0.999);
        let apart = |n: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            let mut noisy = |shift: f64| (0..n).map(|_| shift + rng.random_range(0.0..1.0)).collect::<Vec<f64>>();
            let (small, large) = (noisy(0.0), noisy(0.2));
            larger(&small, &large)
        };
        // 20 % of the range apart, the pairs are 32:68, 9.9 standard deviations of 1/√(6n) from even: a normal tail of 2e-23.
        assert!((2e-23..1e-7).contains(&apart(500)), "{}", apart(500));
        assert!(least(200, 200) < 1e-40);
    }

    /// Of a thousand pairs of sets from one distribution no more than a twentieth are below 0.05, but for chance: 3 standard deviations are 21.
    #[test]
    fn chance_is_called_by_its_name() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        // Skewed, as times are.
        let mut times = || (0..9).map(|_| 1.0 / rng.random_range(0.05..1.0)).collect::<Vec<f64>>();
        let found = (0..1000).filter(|_| larger(&times(), &times()) <= 0.05).count();
        assert!((20..=71).contains(&found), "{found}");
    }
}
