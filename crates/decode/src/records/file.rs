//! Files: first uses, totals, removed and changed names.

use agentsight_model::{
    Access, Event, EventBody, FileDelete, FileOpen, FileRef, FileRename, FileUse, KTime, ProcessKey,
};
use agentsight_wire::{
    self as wire, Pieces, file_delete_rec, file_open_rec, file_rename_rec, file_use, file_use_rec,
    name_ref, rec_header,
};

use super::{Decoder, Item, RecordError, event, has_flag, path};

pub(super) fn access(bits: u32) -> Access {
    Access {
        read: bits & wire::ACCESS_READ != 0,
        write: bits & wire::ACCESS_WRITE != 0,
        create: bits & wire::ACCESS_CREATE != 0,
        truncate: bits & wire::ACCESS_TRUNCATE != 0,
    }
}

pub(super) fn open(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<file_open_rec>(bytes, header.kind)?;
    let components = pieces.take(record.path_bytes)?;
    out.push(event(
        header,
        EventBody::FileOpen(FileOpen {
            use_id: record.use_id,
            file: path::file(
                &record.file,
                components,
                has_flag(header, wire::REC_PATH_CUT),
            ),
            access: access(record.access),
            inherited: has_flag(header, wire::REC_INHERITED),
        }),
    ));
    Ok(())
}

/// The event for the totals of one process's use of one file.
#[must_use]
pub fn totals(process: ProcessKey, totals: &file_use) -> Event {
    Event {
        time: KTime(totals.last_ns.max(totals.use_id)),
        process,
        body: EventBody::FileUse(FileUse {
            use_id: totals.use_id,
            opens: totals.opens,
            creates: totals.creates,
            reads: totals.reads,
            read_bytes: totals.read_bytes,
            writes: totals.writes,
            written_bytes: totals.written_bytes,
            access: access(totals.access),
            first: KTime(totals.use_id),
            last: KTime(totals.last_ns.max(totals.use_id)),
        }),
    }
}

pub(super) fn replaced_use(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, _) = wire::fixed::<file_use_rec>(bytes, header.kind)?;
    let process = ProcessKey {
        tgid: header.tgid,
        start_ns: record.totals.start_ns,
    };
    out.push(Item::Event(totals(process, &record.totals)));
    Ok(())
}

fn named(
    header: &rec_header,
    name: &name_ref,
    pieces: &mut Pieces<'_>,
) -> Result<FileRef, RecordError> {
    let base = pieces.take(name.base_bytes)?;
    let text = pieces.take(name.name_bytes)?;
    Ok(FileRef {
        path: path::join(base, text),
        path_cut: has_flag(header, wire::REC_PATH_CUT),
        ..FileRef::default()
    })
}

pub(super) fn delete(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<file_delete_rec>(bytes, header.kind)?;
    let file = named(header, &record.name, &mut pieces)?;
    out.push(event(
        header,
        EventBody::FileDelete(FileDelete {
            file,
            directory: has_flag(header, wire::REC_DIRECTORY),
        }),
    ));
    Ok(())
}

pub(super) fn rename(
    _: &mut Decoder,
    header: &rec_header,
    bytes: &[u8],
    out: &mut Vec<Item>,
) -> Result<(), RecordError> {
    let (record, mut pieces) = wire::fixed::<file_rename_rec>(bytes, header.kind)?;
    let from = named(header, &record.from, &mut pieces)?;
    let to = named(header, &record.to, &mut pieces)?;
    out.push(event(
        header,
        EventBody::FileRename(FileRename { from, to }),
    ));
    Ok(())
}
