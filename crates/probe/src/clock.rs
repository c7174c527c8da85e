//! The boot clock, on which the kernel side stamps its records.

use agentsight_model::{KTime, WallClock};

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call. Both clocks exist since Linux 2.6.39, so
    // the call cannot fail; if it did, `time` would stay zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds * 1_000_000_000 + nanoseconds
}

/// Now, on the boot clock.
#[must_use]
pub fn now() -> KTime {
    KTime(read(libc::CLOCK_BOOTTIME))
}

/// How the boot clock maps to wall-clock time at this moment.
#[must_use]
pub fn wall_clock() -> WallClock {
    // Read on both sides of the other clock and halve the distance, in case we are held up in between.
    let before = read(libc::CLOCK_BOOTTIME);
    let wall = read(libc::CLOCK_REALTIME);
    let after = read(libc::CLOCK_BOOTTIME);
    let boot = before + (after - before) / 2;
    WallClock {
        offset_ns: i64::try_from(wall).unwrap_or(i64::MAX)
            - i64::try_from(boot).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_advances_and_maps_to_now() {
        let first = now();
        assert!(now() >= first);
        let year_2020 = 1_577_836_800_000_000_000;
        assert!(wall_clock().unix_ns(first) > year_2020);
    }
}
