//! The sparse index over the blocks of ledgers.

use agentsight_ledger::{BlockInfo, BlockPosition, Kind, KindSet};
use agentsight_model::KTime;
use rusqlite::{Connection, Row, named_params};

/// Which blocks to look at. The default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockFilter {
    /// Only blocks with this record or later ones.
    pub from_seq: Option<u64>,
    /// Only blocks with events at this time or later.
    pub from: Option<KTime>,
    /// Only blocks with events at this time or earlier.
    pub until: Option<KTime>,
    /// Only blocks with events of one of these kinds.
    pub kinds: Option<Vec<Kind>>,
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The blocks of a session that `filter` lets through, in order.
pub(crate) fn find(
    db: &Connection,
    session: &str,
    filter: &BlockFilter,
) -> rusqlite::Result<Vec<BlockInfo>> {
    let sql = "SELECT segment, offset, first_seq, records, earliest_ns, latest_ns, kinds
               FROM segments
               WHERE session = :session
                 AND records > 0
                 AND first_seq + records > :from_seq
                 AND latest_ns >= :from AND earliest_ns <= :until
                 AND (kinds & :kinds) <> 0
               ORDER BY segment, offset";
    let kinds = filter
        .kinds
        .as_ref()
        .map_or(KindSet(u64::MAX), |kinds| kinds.iter().copied().collect());
    db.prepare_cached(sql)?
        .query_map(
            named_params! {
                ":session": session,
                ":from_seq": filter.from_seq.map_or(0, number),
                ":from": filter.from.map_or(0, |time| number(time.0)),
                ":until": filter.until.map_or(i64::MAX, |time| number(time.0)),
                ":kinds": kinds.0.cast_signed(),
            },
            from_row,
        )?
        .collect()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<BlockInfo> {
    Ok(BlockInfo {
        position: BlockPosition {
            segment: row.get(0)?,
            offset: unsigned(row.get(1)?),
        },
        first_seq: unsigned(row.get(2)?),
        records: row.get(3)?,
        earliest: KTime(unsigned(row.get(4)?)),
        latest: KTime(unsigned(row.get(5)?)),
        kinds: KindSet(row.get::<_, i64>(6)?.cast_unsigned()),
    })
}
