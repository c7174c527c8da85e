//! Files for tests, of a few segments each.

use super::Machine;

/// A file that can be loaded anywhere: segments of (address, flags, bytes).
pub(crate) fn image(machine: Machine, segments: &[(u64, u32, &[u8])]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(64, 0);
    file[16] = 3;
    file[18] = match machine {
        Machine::X86_64 => 62,
        Machine::Aarch64 => 183,
    };
    file[32] = 64;
    file[56] = u8::try_from(segments.len()).unwrap();
    let mut offset = (64 + 56 * segments.len()) as u64;
    for (address, flags, bytes) in segments {
        file.extend(1_u32.to_le_bytes());
        file.extend(flags.to_le_bytes());
        let size = bytes.len() as u64;
        for value in [offset, *address, *address, size, size, 1] {
            file.extend(value.to_le_bytes());
        }
        offset += size;
    }
    for (_, _, bytes) in segments {
        file.extend(*bytes);
    }
    file
}
