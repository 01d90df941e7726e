//! How much there was in each of the last seconds.

/// Seconds that are kept.
pub const SECONDS: usize = 120;

/// Amounts by second, the last [`SECONDS`] of them.
#[derive(Clone, Debug)]
pub struct Rates {
    seconds: Box<[f32]>,
    /// The newest second that there is a place for.
    newest: i64,
    total: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            seconds: vec![0.0; SECONDS].into(),
            newest: 0,
            total: 0.0,
        }
    }
}

impl Rates {
    /// Adds what was there in that second. What is older than all that is kept only adds to the total.
    pub fn add(&mut self, second: i64, amount: f64) {
        self.total += amount;
        self.advance(second);
        let age = self.newest - second;
        if (0..SECONDS as i64).contains(&age) {
            let place = self.place(second);
            self.seconds[place] += amount as f32;
        }
    }

    fn place(&self, second: i64) -> usize {
        usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or_default()
    }

    /// Makes room up to that second.
    pub fn advance(&mut self, second: i64) {
        if second <= self.newest {
            return;
        }
        let steps = second.saturating_sub(self.newest).min(SECONDS as i64);
        for back in 0..steps {
            let place = self.place(second - back);
            self.seconds[place] = 0.0;
        }
        self.newest = second;
    }

    /// All that was ever added.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Amounts of the last seconds before `now`, the oldest first, the one that isn't over left away.
    #[must_use]
    pub fn last(&self, now: i64, seconds: usize) -> Vec<f64> {
        let seconds = seconds.min(SECONDS - 1) as i64;
        (now - seconds..now).map(|second| self.at(second)).collect()
    }

    fn at(&self, second: i64) -> f64 {
        let age = self.newest.saturating_sub(second);
        if (0..SECONDS as i64).contains(&age) {
            f64::from(self.seconds[self.place(second)])
        } else {
            0.0
        }
    }

    /// The mean of the last seconds that are over.
    #[must_use]
    pub fn mean(&self, now: i64, seconds: usize) -> f64 {
        let last = self.last(now, seconds);
        if last.is_empty() {
            return 0.0;
        }
        last.iter().sum::<f64>() / last.len() as f64
    }

    /// What was there in so many seconds, the one that isn't over included.
    #[must_use]
    pub fn recent(&self, now: i64, seconds: usize) -> f64 {
        self.last(now + 1, seconds).iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_and_go() {
        let mut rates = Rates::default();
        for second in 1000..1010 {
            rates.add(second, 2.0);
        }
        rates.add(1004, 5.0);
        assert_eq!(rates.last(1010, 4), [2.0, 2.0, 2.0, 2.0]);
        assert_eq!(rates.mean(1010, 10), 2.5);
        assert_eq!(rates.last(1012, 4), [2.0, 2.0, 0.0, 0.0]);
        assert_eq!(rates.total(), 25.0);
    }

    #[test]
    fn leaps_of_the_clock_leave_nothing_behind() {
        let mut rates = Rates::default();
        rates.add(1000, 1.0);
        rates.add(i64::MAX / 2, 1.0);
        rates.add(1001, 1.0);
        rates.add(-5, 1.0);
        assert_eq!(rates.total(), 4.0);
        assert_eq!(rates.last(1002, 3), [0.0, 0.0, 0.0]);
        assert_eq!(rates.recent(i64::MAX / 2, 3), 1.0);
    }
}
