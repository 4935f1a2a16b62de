//! Rows and columns of a small square, exchanged in registers.

/// Rows and columns of a square: the widest vectors hold as many `f32`.
pub(super) const SIDE: usize = 16;

/// Exchanges rows and columns: halves of the square change places, then those of its quarters, and so on, each a shuffle of two whole rows
/// once the loops over constants are unrolled.
#[inline(always)]
pub(super) fn transpose<R: Copy>(square: &mut [[R; SIDE]; SIDE]) {
    exchange::<R, 8>(square);
    exchange::<R, 4>(square);
    exchange::<R, 2>(square);
    exchange::<R, 1>(square);
}

/// In each square of side 2 · `HALF`, exchanges the upper right quarter and the lower left.
#[inline(always)]
fn exchange<R: Copy, const HALF: usize>(square: &mut [[R; SIDE]; SIDE]) {
    for row in (0..SIDE).filter(|row| row & HALF == 0) {
        let (upper, lower) = (square[row], square[row + HALF]);
        square[row] = std::array::from_fn(|at| if at & HALF == 0 { upper[at] } else { lower[at & !HALF] });
        square[row + HALF] = std::array::from_fn(|at| if at & HALF == 0 { upper[at | HALF] } else { lower[at] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_in_a_row_stands_in_a_column() {
        let square: [[usize; SIDE]; SIDE] = std::array::from_fn(|row| std::array::from_fn(|column| row * SIDE + column));
        let mut turned = square;
        transpose(&mut turned);
        for (row, numbers) in square.iter().enumerate() {
            for (column, number) in numbers.iter().enumerate() {
                assert_eq!(turned[column][row], *number);
            }
        }
    }
}
