//! Amounts as a line of text.

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Amounts, the oldest first, in so many cells; the largest is a full block. What there is at all is seen.
#[must_use]
pub fn sparkline(amounts: &[f64], cells: usize) -> String {
    if amounts.is_empty() || cells == 0 {
        return String::new();
    }
    let sums: Vec<f64> = (0..cells)
        .map(|cell| {
            let from = cell * amounts.len() / cells;
            let to = ((cell + 1) * amounts.len() / cells).max(from + 1).min(amounts.len());
            amounts.get(from..to).map_or(0.0, |part| part.iter().sum())
        })
        .collect();
    let largest = sums.iter().copied().fold(0.0, f64::max);
    sums.iter()
        .map(|sum| {
            if *sum <= 0.0 || largest <= 0.0 {
                return BLOCKS[0];
            }
            let block = (sum / largest * 8.0).round().clamp(1.0, 8.0);
            BLOCKS[block as usize]
        })
        .collect()
}

/// A share of 1 as a bar of at most so many cells.
#[must_use]
pub fn bar(share: f64, cells: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
    let mut bar: String = std::iter::repeat_n('█', eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_become_blocks() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 4.0, 8.0, 0.01], 6), " ▁▂▄█▁");
        assert_eq!(sparkline(&[1.0; 60], 4), "████");
        assert_eq!(sparkline(&[0.0; 60], 4), "    ");
        assert_eq!(sparkline(&[3.0], 3), "███");
        assert_eq!(
            (bar(0.5, 4), bar(0.03, 4), bar(7.0, 2)),
            ("██".into(), "▏".into(), "██".into())
        );
    }
}
