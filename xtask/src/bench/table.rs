//! From pairs to the table that a person reads.

use std::time::Duration;

use super::workload::Measured;

/// One run without and one with watching.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) plain: Measured,
    pub(super) watched: Measured,
    /// CPU time of the watcher.
    pub(super) sensor_cpu: Duration,
}

impl Pair {
    pub(super) fn wall_ratio(&self) -> f64 {
        ratio(self.watched.wall, self.plain.wall)
    }

    pub(super) fn cpu_ratio(&self) -> f64 {
        ratio(self.watched.cpu, self.plain.cpu)
    }
}

fn ratio(watched: Duration, plain: Duration) -> f64 {
    watched.as_secs_f64() / plain.as_secs_f64()
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        (at(middle.wrapping_sub(1)) + at(middle)) / 2.0
    }
}

pub(super) fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.3}-{greatest:.3}")
}

/// The table: medians, and the range in which the pairs lie.
pub(super) fn render(results: &[(&str, Vec<Pair>)]) -> String {
    let mut lines = vec![format!(
        "{:<12} {:>5} {:>9} {:>11} {:>13} {:>11} {:>13} {:>11}",
        "workload", "pairs", "plain", "wall ratio", "range", "cpu ratio", "range", "sensor cpu"
    )];
    for (name, pairs) in results {
        let of = |value: fn(&Pair) -> f64| pairs.iter().map(value).collect::<Vec<f64>>();
        let (wall, cpu) = (of(Pair::wall_ratio), of(Pair::cpu_ratio));
        lines.push(format!(
            "{name:<12} {:>5} {:>7.2} s {:>11.3} {:>13} {:>11.3} {:>13} {:>9.2} s",
            pairs.len(),
            median(of(|pair| pair.plain.wall.as_secs_f64())),
            median(wall.clone()),
            range(&wall),
            median(cpu.clone()),
            range(&cpu),
            median(of(|pair| pair.sensor_cpu.as_secs_f64())),
        ));
    }
    lines.push(
        "ratios: watched / plain, median of pairs; the workload itself, its children included;\n\
         sensor cpu: CPU time of agentsight itself, its start included"
            .to_owned(),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(plain_ms: u64, watched_ms: u64) -> Pair {
        let measured = |ms| Measured {
            wall: Duration::from_millis(ms),
            cpu: Duration::from_millis(ms / 2),
        };
        Pair {
            plain: measured(plain_ms),
            watched: measured(watched_ms),
            sensor_cpu: Duration::from_millis(40),
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn the_table_has_medians_and_ranges() {
        let results = [(
            "exec-burst",
            vec![pair(1000, 1100), pair(1000, 1040), pair(1000, 1300)],
        )];
        let table = render(&results);
        let row = table.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        let expected = [
            "exec-burst",
            "3",
            "1.00",
            "s",
            "1.100",
            "1.040-1.300",
            "1.100",
            "1.040-1.300",
            "0.04",
            "s",
        ];
        assert_eq!(cells, expected);
    }
}
