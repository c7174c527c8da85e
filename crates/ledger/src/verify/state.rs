//! What is known while the blocks of a ledger go by: which record comes next, which hash it has to
//! continue, what is missing so far, and the problems found.

use std::ops::Range;

use super::report::{KnownState, Problem, ProblemKind};
use crate::format::BlockHeader;
use crate::{ChainHash, Head};

/// Gaps that are remembered, to recognise their blocks if they turn up later.
const MAX_GAPS: usize = 256;

/// A place in a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Position of the block in its segment.
    pub(crate) block: u64,
}

/// The hash that whatever comes next has to continue.
#[derive(Clone, Copy, Debug)]
enum Tip {
    /// One of these: they differ where something was changed, which leaves open what it was before.
    OneOf([ChainHash; 2]),
    /// The end of what came before was lost.
    Lost,
}

impl Tip {
    fn allows(self, prev: ChainHash) -> bool {
        match self {
            Self::OneOf(hashes) => hashes.contains(&prev),
            Self::Lost => true,
        }
    }
}

/// Records that were missing where they should have been.
#[derive(Debug)]
struct Gap {
    records: Range<u64>,
    place: Place,
    /// Index of its problem, if that is listed.
    problem: Option<usize>,
}

/// The block before the current place.
#[derive(Clone, Debug, Default)]
struct Last {
    place: Place,
    records: Range<u64>,
    /// Where the block ends.
    end: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    next_seq: u64,
    tip: Tip,
    last: Last,
    gaps: Vec<Gap>,
    /// Problems whose records end where the next believable block begins.
    open: Vec<usize>,
    /// Something is open that is not listed.
    open_unlisted: bool,
    problems: Vec<Problem>,
    max_problems: usize,
    unlisted_problems: u64,
    head: Option<(u64, ChainHash)>,
    known: Option<KnownState>,
    head_reached: bool,
    known_reached: bool,
    /// The end mark was read.
    closed: bool,
    /// The last block read has a problem of its own.
    tail_is_suspect: bool,
    chain: ChainHash,
}

impl State {
    pub(crate) fn new(head: Option<&Head>, known: Option<KnownState>, max_problems: usize) -> Self {
        let mut this = Self {
            next_seq: 0,
            tip: Tip::OneOf([ChainHash::GENESIS; 2]),
            last: Last::default(),
            gaps: Vec::new(),
            open: Vec::new(),
            open_unlisted: false,
            problems: Vec::new(),
            max_problems,
            unlisted_problems: 0,
            head: head.map(|head| (head.records, head.chain)),
            known,
            head_reached: false,
            known_reached: false,
            closed: false,
            tail_is_suspect: false,
            chain: ChainHash::GENESIS,
        };
        this.reach(ChainHash::GENESIS);
        this
    }

    pub(crate) fn problem(
        &mut self,
        kind: ProblemKind,
        place: Place,
        records: Range<u64>,
        detail: impl Into<String>,
    ) -> Option<usize> {
        if self.problems.len() >= self.max_problems {
            self.unlisted_problems += 1;
            return None;
        }
        self.problems.push(Problem {
            kind,
            segment: (place.segment > 0).then_some(place.segment),
            offset: place.offset,
            block: place.block,
            records,
            detail: detail.into(),
        });
        self.problems.len().checked_sub(1)
    }

    /// A problem that hides an unknown number of records, up to the next block that can be believed.
    pub(crate) fn lose(&mut self, kind: ProblemKind, place: Place, detail: impl Into<String>) {
        let here = self.next_seq..self.next_seq;
        match self.problem(kind, place, here, detail) {
            Some(index) => self.open.push(index),
            None => self.open_unlisted = true,
        }
        self.tip = Tip::Lost;
        self.tail_is_suspect = true;
    }

    pub(crate) fn has_open_problem(&self) -> bool {
        self.open_unlisted || !self.open.is_empty()
    }

    /// Ends what is open at record `seq`.
    fn settle(&mut self, seq: u64) {
        for index in self.open.drain(..) {
            if let Some(problem) = self.problems.get_mut(index) {
                problem.records.end = seq.max(problem.records.start);
            }
        }
        self.open_unlisted = false;
        self.next_seq = self.next_seq.max(seq);
    }

    /// A segment begins whose header can be believed.
    pub(crate) fn enter_segment(
        &mut self,
        place: Place,
        first_seq: u64,
        prev: ChainHash,
        hash: ChainHash,
    ) {
        if self.has_open_problem() {
            self.settle(first_seq);
        } else if first_seq > self.next_seq {
            let end = Place {
                offset: self.last.end,
                ..self.last.place
            };
            let records = self.next_seq..first_seq;
            self.problem(
                ProblemKind::CutTail,
                end,
                records,
                "the end of the segment is missing",
            );
        } else if first_seq < self.next_seq {
            let records = first_seq..self.next_seq;
            let detail = "records came before that begin in this segment";
            self.problem(ProblemKind::Duplicated, place, records, detail);
        } else if !self.tip.allows(prev) {
            self.replaced();
        }
        self.next_seq = first_seq;
        self.chain = hash;
        self.begin_segment(place, [hash, hash]);
    }

    /// A segment begins whose header was changed: what comes next may continue any of `hashes`.
    pub(crate) fn enter_damaged_segment(&mut self, place: Place, hashes: [ChainHash; 2]) {
        self.begin_segment(place, hashes);
    }

    fn begin_segment(&mut self, place: Place, hashes: [ChainHash; 2]) {
        self.tip = Tip::OneOf(hashes);
        hashes.into_iter().for_each(|hash| self.reach(hash));
        self.last = Last {
            place,
            records: self.next_seq..self.next_seq,
            end: crate::format::SEGMENT_HEADER_BYTES as u64,
        };
    }

    /// A block that is consistent in itself.
    pub(crate) fn block(&mut self, place: Place, header: &BlockHeader, hash: ChainHash) {
        let first_seq = header.first_seq;
        if first_seq < self.next_seq && !self.has_open_problem() {
            self.out_of_place(place, header);
            return;
        }
        if self.has_open_problem() {
            self.settle(first_seq);
        } else if first_seq > self.next_seq {
            self.gap(place, self.next_seq..first_seq);
        } else if !self.tip.allows(header.prev) {
            self.replaced();
        }
        self.advance(place, header, [hash, hash]);
        self.chain = hash;
        self.closed |= header.is_end();
        self.tail_is_suspect = false;
    }

    /// A block that is not what was written, though its boundaries are; `range` are the records
    /// concerned, counted from the block's first.
    pub(crate) fn changed_block(
        &mut self,
        place: Place,
        header: &BlockHeader,
        hashes: [ChainHash; 2],
        difference: &super::diff::Difference,
    ) {
        if header.first_seq == self.next_seq && !self.has_open_problem() {
            let first = header.first_seq;
            let range = &difference.records;
            let records = first.saturating_add(range.start)..first.saturating_add(range.end);
            self.problem(difference.kind, place, records, difference.detail);
            self.advance(place, header, hashes);
        } else {
            // Its record numbers may be what was changed.
            self.lose(difference.kind, place, difference.detail);
            hashes.into_iter().for_each(|hash| self.reach(hash));
        }
        self.tail_is_suspect = true;
    }

    fn advance(&mut self, place: Place, header: &BlockHeader, hashes: [ChainHash; 2]) {
        self.next_seq = header.end_seq();
        self.tip = Tip::OneOf(hashes);
        self.last = Last {
            place,
            records: header.first_seq..header.end_seq(),
            end: place.offset.saturating_add(header.block_bytes() as u64),
        };
        hashes.into_iter().for_each(|hash| self.reach(hash));
    }

    /// Notes that the ledger was in a state with this hash.
    fn reach(&mut self, hash: ChainHash) {
        self.head_reached |= self.head.is_some_and(|(_, chain)| chain == hash);
        self.known_reached |= self.known.is_some_and(|known| known.chain == hash);
    }

    fn replaced(&mut self) {
        let Last { place, records, .. } = self.last.clone();
        let detail = "what follows was written after something else than this";
        self.problem(ProblemKind::Replaced, place, records, detail);
    }

    fn gap(&mut self, place: Place, records: Range<u64>) {
        let detail = "records are missing before this block";
        let problem = self.problem(ProblemKind::Removed, place, records.clone(), detail);
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(Gap {
                records,
                place,
                problem,
            });
        }
    }

    /// A block whose records should have come earlier: it fills a gap, or it is there twice.
    fn out_of_place(&mut self, place: Place, header: &BlockHeader) {
        let records = header.first_seq..header.end_seq();
        let fits = |gap: &Gap| gap.records.start <= records.start && records.end <= gap.records.end;
        let Some(index) = self.gaps.iter().position(fits) else {
            let detail = "the block repeats records that came before";
            self.problem(ProblemKind::Duplicated, place, records, detail);
            return;
        };
        let gap = self.gaps.swap_remove(index);
        if let Some(problem) = gap.problem.and_then(|index| self.problems.get_mut(index)) {
            problem.kind = ProblemKind::Reordered;
            problem.records = records.clone();
            problem.detail = format!(
                "records that belong before this block stand at byte {} of segment {}",
                place.offset, place.segment
            );
        }
        for rest in [
            gap.records.start..records.start,
            records.end..gap.records.end,
        ] {
            if !rest.is_empty() {
                self.gap(gap.place, rest);
            }
        }
    }

    /// Whether everything that `HEAD` counts was read.
    pub(crate) fn head_is_reached(&self) -> bool {
        self.head_reached
    }

    /// Whether a block with this header stands behind the end of the ledger.
    pub(crate) fn is_after_end(&self, header: &BlockHeader) -> bool {
        self.closed && header.first_seq >= self.next_seq
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Compares the end of what was read with what `HEAD` and others know.
    pub(crate) fn finish(mut self, head: Option<&Head>) -> Finished {
        match head {
            Some(head) => self.finish_with_head(head),
            None => self.settle(self.next_seq),
        }
        if let Some(known) = self.known {
            self.compare_with_known(known);
        }
        Finished {
            closed: self.closed,
            chain: self.chain,
            problems: self.problems,
            unlisted_problems: self.unlisted_problems,
        }
    }

    fn finish_with_head(&mut self, head: &Head) {
        let end = Place {
            offset: self.last.end,
            ..self.last.place
        };
        if self.has_open_problem() {
            self.settle(head.records);
        } else if self.next_seq < head.records {
            let records = self.next_seq..head.records;
            let detail = if self.next_seq < head.synced_records {
                "HEAD counts records that are missing here"
            } else {
                "HEAD counts records that are missing here; they were not synced yet, so that a power \
                 failure may have taken them"
            };
            self.problem(ProblemKind::CutTail, end, records, detail);
        } else if head.closed && !self.closed && !self.tail_is_suspect {
            let here = self.next_seq..self.next_seq;
            let detail = "HEAD says that the session ended in order, but the end mark is missing";
            self.problem(ProblemKind::CutTail, end, here, detail);
        } else if !self.head_reached && !self.tail_is_suspect {
            self.replaced();
        }
    }

    fn compare_with_known(&mut self, known: KnownState) {
        if self.known_reached {
            return;
        }
        let place = self.last.place;
        if self.next_seq < known.records {
            let records = self.next_seq..known.records;
            let detail = "records are missing here that the ledger is known to have had";
            self.problem(ProblemKind::CutTail, place, records, detail);
        } else if self.problems.is_empty() {
            let detail = format!(
                "the ledger had the hash {} after {} records at an earlier time, and has not now",
                known.chain, known.records
            );
            self.problem(ProblemKind::Rewritten, place, 0..known.records, detail);
        }
    }
}

/// What is left when all blocks went by.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) closed: bool,
    pub(crate) chain: ChainHash,
    pub(crate) problems: Vec<Problem>,
    pub(crate) unlisted_problems: u64,
}
