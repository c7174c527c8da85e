//! Ledgers that no writer made, with every hash right: what an attacker can build who knows the format.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agentsight_model::KTime;
use tempfile::TempDir;

use crate::fields::PutFields;
use crate::format::{
    BLOCK_FLAG_END, BlockHeader, BlockTrailer, Codec, MAX_BLOCK_RAW_BYTES, MAX_EXPANSION,
    MAX_RECORD_BYTES, SegmentHeader, VERSION,
};
use crate::head::{Head, HeadFile};
use crate::{
    ChainHash, Encoding, Kind, KindSet, LedgerError, ProblemKind, Reader, Verdict, blocks, files,
    hash, read_head, record, verify,
};

/// A session's directory with one segment, made by hand.
struct Forged {
    _temp: TempDir,
    dir: PathBuf,
    segment: Vec<u8>,
    chain: ChainHash,
    records: u64,
}

impl Forged {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("s");
        fs::create_dir(&dir).unwrap();
        let (segment, chain) = SegmentHeader {
            version: VERSION,
            segment: 1,
            first_seq: 0,
            session_id: "s".into(),
            prev: ChainHash::GENESIS,
        }
        .encode();
        Self {
            _temp: temp,
            dir,
            segment,
            chain,
            records: 0,
        }
    }

    /// Adds a block with right hashes; `change` may give its header any content.
    fn block(
        mut self,
        stored: &[u8],
        leaves: &[u8],
        change: impl FnOnce(&mut BlockHeader),
    ) -> Self {
        let mut header = BlockHeader {
            codec: Codec::Zstd,
            flags: 0,
            first_seq: self.records,
            records: (leaves.len() / 8) as u32,
            raw_bytes: stored.len() as u32,
            stored_bytes: stored.len() as u32,
            earliest: KTime(0),
            latest: KTime(0),
            kinds: KindSet(0),
            prev: self.chain,
        };
        change(&mut header);
        let mut block = Vec::new();
        header.put(&mut block);
        block.put(stored);
        block.put(leaves);
        self.chain = ChainHash::of(&[&block]);
        let trailer = BlockTrailer {
            hash: self.chain,
            block_bytes: header.block_bytes() as u32,
        };
        trailer.put(&mut block);
        self.segment.put(&block);
        self.records = header.end_seq();
        self
    }

    /// Ends the ledger as a writer would.
    fn finish(self) -> Self {
        let forged = self.block(&[], &[], |header| {
            header.codec = Codec::Plain;
            header.flags = BLOCK_FLAG_END;
        });
        let head = Head {
            session_id: "s".into(),
            generation: 0,
            records: forged.records,
            synced_records: forged.records,
            segment: 1,
            offset: forged.segment.len() as u64,
            chain: forged.chain,
            closed: true,
        };
        HeadFile::create(&forged.dir, head).unwrap();
        fs::write(files::segment_path(&forged.dir, 1), &forged.segment).unwrap();
        forged
    }

    /// The kind of the first problem; the reader has to come to an end as well.
    fn problem(&self) -> ProblemKind {
        let read = Reader::open(&self.dir).unwrap().take(100);
        assert!(read.filter(Result::is_err).count() >= 1);
        let report = verify(&self.dir).unwrap();
        assert_eq!(report.verdict, Verdict::Damaged);
        report.problems[0].kind
    }
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = record::header(payload.len() as u32, Encoding::JSON, Kind(1)).to_vec();
    bytes.put(payload);
    bytes
}

fn compressed(raw: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(raw, 19).unwrap()
}

fn zeros(bytes: usize) -> Vec<u8> {
    vec![0; bytes]
}

#[test]
fn a_forged_ledger_of_the_right_form_is_whole() {
    let raw = framed(br#"{"kind":"loss"}"#);
    let forged = Forged::new()
        .block(&raw, &hash::leaf(&raw), |header| {
            header.codec = Codec::Plain
        })
        .finish();
    let verdict = verify(&forged.dir).unwrap().verdict;
    assert_eq!(
        verdict,
        Verdict::Intact {
            records: 1,
            closed: true
        }
    );
}

#[test]
fn a_block_that_expands_beyond_its_header_is_not_unpacked() {
    let bomb = compressed(&zeros(200 << 20));
    for stated in [1 << 10, MAX_BLOCK_RAW_BYTES] {
        let forged = Forged::new()
            .block(&bomb, &zeros(8), |header| {
                header.raw_bytes = stated.max(bomb.len()) as u32;
            })
            .finish();
        assert_eq!(forged.problem(), ProblemKind::Malformed);
    }
}

#[test]
fn a_header_that_states_a_bomb_is_refused_before_anything_is_unpacked() {
    let bomb = compressed(&zeros(MAX_RECORD_BYTES));
    assert!(bomb.len() * MAX_EXPANSION < MAX_RECORD_BYTES);
    let forged = Forged::new()
        .block(&bomb, &zeros(8), |header| {
            header.raw_bytes = MAX_RECORD_BYTES as u32;
        })
        .finish();
    assert_eq!(forged.problem(), ProblemKind::BadBlockHeader);
}

#[test]
fn a_damaged_bomb_is_salvaged_within_bounds() {
    let bomb = compressed(&zeros(200 << 20));
    let forged = Forged::new()
        .block(&bomb, &zeros(8), |header| {
            header.raw_bytes = MAX_BLOCK_RAW_BYTES as u32;
        })
        .finish();
    let path = files::segment_path(&forged.dir, 1);
    let mut bytes = fs::read(&path).unwrap();
    // The reserved field of the header: everything else stays as it is.
    bytes[256 + 28] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(forged.problem(), ProblemKind::Changed);
}

#[test]
fn content_that_no_writer_makes_is_malformed() {
    let two = [framed(b"{}"), framed(b"{}")].concat();
    let leaf = hash::leaf(&framed(b"{}"));
    let plain = |header: &mut BlockHeader| header.codec = Codec::Plain;
    for (name, raw, leaves) in [
        ("fewer leaves than records", two.clone(), leaf.to_vec()),
        (
            "bytes behind the records",
            [framed(b"{}"), zeros(3)].concat(),
            leaf.to_vec(),
        ),
        ("a wrong leaf", framed(b"{ }"), leaf.to_vec()),
        (
            "fewer records than leaves",
            framed(b"{345678}"),
            leaf.repeat(2),
        ),
    ] {
        let forged = Forged::new().block(&raw, &leaves, plain).finish();
        let report = verify(&forged.dir).unwrap();
        assert_eq!(report.problems[0].kind, ProblemKind::Malformed, "{name}");
        assert!(Reader::open(&forged.dir).unwrap().take(100).count() < 100);
    }
}

#[test]
fn record_numbers_near_the_end_of_the_range_do_no_harm() {
    let raw = framed(b"{}");
    for first_seq in [u64::MAX, u64::MAX / 2 + 1, u64::MAX / 2, 1 << 40] {
        let forged = Forged::new()
            .block(&raw, &hash::leaf(&raw), |header| {
                header.codec = Codec::Plain;
                header.first_seq = first_seq;
            })
            .finish();
        assert_eq!(verify(&forged.dir).unwrap().verdict, Verdict::Damaged);
        assert!(Reader::open(&forged.dir).unwrap().take(100).count() < 100);
    }
}

#[test]
fn what_looks_like_a_block_inside_a_record_is_never_taken_for_one() {
    // The inner block is consistent in itself, as an agent can make it that knows the format.
    let inner = Forged::new().block(&framed(b"{}"), &hash::leaf(&framed(b"{}")), |header| {
        header.codec = Codec::Plain;
    });
    let raw = framed(&inner.segment[256..]);
    let outer = |forged: Forged| {
        forged.block(&raw, &hash::leaf(&raw), |header| {
            header.codec = Codec::Plain
        })
    };
    let forged = outer(outer(Forged::new())).finish();
    let path = files::segment_path(&forged.dir, 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[256] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = verify(&forged.dir).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].records, 0..1);
    assert_eq!(report.records, 1);
}

#[test]
fn a_hole_of_a_terabyte_is_read_in_no_time() {
    let forged = Forged::new().finish();
    let segment = fs::OpenOptions::new()
        .write(true)
        .open(files::segment_path(&forged.dir, 1))
        .unwrap();
    segment.set_len(1 << 40).unwrap();
    assert_eq!(verify(&forged.dir).unwrap().verdict, Verdict::Damaged);
    assert!(Reader::open(&forged.dir).unwrap().take(100).count() < 100);
}

#[test]
fn newer_formats_are_named() {
    let forged = Forged::new().finish();
    let (mut segment, _) = SegmentHeader {
        version: VERSION + 1,
        segment: 1,
        first_seq: 0,
        session_id: "s".into(),
        prev: ChainHash::GENESIS,
    }
    .encode();
    segment.put(&forged.segment[256..]);
    fs::write(files::segment_path(&forged.dir, 1), segment).unwrap();
    assert!(matches!(
        Reader::open(&forged.dir).unwrap().next(),
        Some(Err(LedgerError::UnsupportedVersion { found: 2, .. }))
    ));
    assert_eq!(forged.problem(), ProblemKind::BadSegmentHeader);
}

/// Everything that opens a ledger, by whether it was refused as a link.
fn all_refuse(dir: &Path, is_refusal: impl Fn(&LedgerError) -> bool) {
    assert!(is_refusal(&read_head(dir).unwrap_err()));
    assert!(is_refusal(&verify(dir).unwrap_err()));
    assert!(is_refusal(&Reader::open(dir).unwrap_err()));
    assert!(is_refusal(&blocks(dir).unwrap_err()));
}

#[test]
fn a_link_in_place_of_the_directory_is_refused() {
    let forged = Forged::new().finish();
    let link = forged.dir.with_extension("link");
    symlink(&forged.dir, &link).unwrap();
    all_refuse(&link, |error| matches!(error, LedgerError::Symlink(_)));
    all_refuse(&forged.dir.join("HEAD"), |error| {
        matches!(error, LedgerError::WrongFileType(_))
    });
    all_refuse(&forged.dir.join("nothing"), |error| {
        matches!(error, LedgerError::NotALedger(_))
    });
}

#[test]
fn links_in_place_of_files_are_refused_and_named() {
    for name in ["HEAD", "ledger-000001.seg"] {
        let forged = Forged::new().finish();
        let path = forged.dir.join(name);
        let elsewhere = forged.dir.with_extension("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let report = verify(&forged.dir).unwrap();
        assert_eq!(report.verdict, Verdict::Damaged);
        assert_eq!(report.problems[0].file(), name);
        assert!(report.problems[0].detail.contains("symbolic link"));
    }
}
