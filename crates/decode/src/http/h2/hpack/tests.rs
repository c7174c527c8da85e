//! The standard's examples, blocks of independent encoders, and joins at every block.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// Name and value as sent, or `None` where they are unknown.
type Seen = (Option<String>, Option<String>);

fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<Seen> {
    let mut fields = Vec::new();
    let text = |part: Option<Arc<str>>| part.map(|part| part.to_string());
    decoder
        .decode(block, &mut |field| {
            fields.push((text(field.name), text(field.value)));
        })
        .unwrap();
    fields
}

fn known(fields: &[(&str, &str)]) -> Vec<Seen> {
    fields
        .iter()
        .map(|(name, value)| (Some((*name).to_owned()), Some((*value).to_owned())))
        .collect()
}

fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn integers_of_the_standard_are_read() {
    for (bytes, prefix_bits, value) in [
        (&[0x0a][..], 5, Ok(10)),
        (&[0x1f, 0x9a, 0x0a], 5, Ok(1337)),
        (&[0x2a], 8, Ok(42)),
        (&[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f], 7, Ok(u32::MAX)),
        (&[0xff, 0x81, 0xff, 0xff, 0xff, 0x0f], 7, Err(Malformed)),
        (
            &[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            5,
            Err(Malformed),
        ),
        (&[0x1f, 0x80], 5, Err(Malformed)),
        (&[], 5, Err(Malformed)),
    ] {
        assert_eq!(integer(&mut &bytes[..], prefix_bits), value, "{bytes:?}");
    }
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
];

/// The size of the table, what three blocks say, and the blocks.
type Example = (
    usize,
    [&'static [(&'static str, &'static str)]; 3],
    [&'static str; 3],
);

/// RFC 7541, appendix C.3 to C.6.
#[test]
fn examples_of_the_standard_are_decoded() {
    let table: [Example; 4] = [
        (
            4096,
            REQUESTS,
            [
                "828684410f7777772e6578616d706c652e636f6d",
                "828684be58086e6f2d6361636865",
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            ],
        ),
        (
            4096,
            REQUESTS,
            [
                "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                "828684be5886a8eb10649cbf",
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
            ],
        ),
        (
            256,
            RESPONSES,
            [
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
                 6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                "4803333037c1c0bf",
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f\
                 3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076\
                 657273696f6e3d31",
            ],
        ),
        (
            256,
            RESPONSES,
            [
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad1718\
                 63c78f0b97c8e9ae82ae43d3",
                "4883640effc1c0bf",
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7\
                 b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            ],
        ),
    ];
    for (capacity_bytes, expected, blocks) in table {
        let mut decoder = Decoder::new();
        decoder.table.resize(capacity_bytes);
        for (fields, block) in expected.iter().zip(blocks) {
            assert_eq!(decode(&mut decoder, &hex(block)), known(fields), "{block}");
        }
    }
}

/// Blocks by Python's `hpack`, one connection after the other, with and without the Huffman code and
/// with tables that change their size.
fn stories() -> Vec<Vec<(Vec<u8>, Vec<Seen>)>> {
    let mut stories: Vec<Vec<(Vec<u8>, Vec<Seen>)>> = Vec::new();
    for line in include_str!("../../../../tests/hpack/stories.txt").lines() {
        if line == "connection" {
            stories.push(Vec::new());
            continue;
        }
        let story = stories.last_mut().unwrap();
        if let Some(digits) = line.strip_prefix("block ") {
            story.push((hex(digits), Vec::new()));
        } else {
            let (name, value) = line.split_once('\t').unwrap();
            let fields = &mut story.last_mut().unwrap().1;
            fields.extend(known(&[(name, value)]));
        }
    }
    stories
}

#[test]
fn blocks_of_another_encoder_are_decoded() {
    for story in stories() {
        let mut decoder = Decoder::new();
        for (block, fields) in story {
            assert_eq!(decode(&mut decoder, &block), fields);
        }
    }
}

/// Asserts that what was decoded is what was sent, but for what is unknown; gives how much that is.
fn unknown_count(seen: &[Seen], sent: &[Seen]) -> usize {
    assert_eq!(seen.len(), sent.len());
    let mut count = 0;
    for ((name, value), (true_name, true_value)) in seen.iter().zip(sent) {
        assert!(
            name.is_none() || name == true_name,
            "{name:?} for {true_name:?}"
        );
        assert!(
            value.is_none() || value == true_value,
            "{value:?} for {true_value:?}"
        );
        count += usize::from(name.is_none() || value.is_none());
    }
    count
}

#[test]
fn who_joins_at_any_block_reads_nothing_wrong() {
    let (mut unknown, mut total) = (0, 0);
    for story in stories() {
        for from in 1..story.len() {
            let mut decoder = Decoder::new();
            decoder.forget();
            for (block, fields) in &story[from..] {
                unknown += unknown_count(&decode(&mut decoder, block), fields);
                total += fields.len();
            }
        }
    }
    assert!(unknown > 0 && unknown * 5 < total, "{unknown} of {total}");
}

#[test]
fn a_table_that_was_emptied_is_known_again() {
    let mut decoder = Decoder::new();
    decoder.forget();
    // An index that cannot be known, then a table of size 0 and of 4096, and a field that is inserted.
    let seen = decode(&mut decoder, &hex("be"));
    assert_eq!(seen, [(None, None)]);
    let seen = decode(&mut decoder, &hex("203fe11f 400161 0162 be"));
    assert_eq!(seen, known(&[("a", "b"), ("a", "b")]));
    // A name that is unknown, with a value that is not; the entry keeps its place.
    decoder.forget();
    let seen = decode(&mut decoder, &hex("7f000163 400161 0162 bf be"));
    let half = (None, Some("c".to_owned()));
    let whole = known(&[("a", "b")]).remove(0);
    assert_eq!(seen, [half.clone(), whole.clone(), half, whole]);
}

#[test]
fn malformed_blocks_are_refused() {
    for block in [
        "80",             // index 0
        "400161",         // no value
        "40016105",       // a value that is cut
        "40ffffffffff0f", // a length beyond all bounds
        "4081ff8100",     // a Huffman code that is none
        "0f",             // an index that is cut
    ] {
        let mut decoder = Decoder::new();
        let mut emit = |_| {};
        assert_eq!(
            decoder.decode(&hex(block), &mut emit),
            Err(Malformed),
            "{block}"
        );
    }
}

/// How a field is written.
#[derive(Clone, Debug)]
struct Written {
    name: String,
    value: String,
    form: u8,
    coded: bool,
    /// Whether to refer to tables where that is possible.
    by_index: bool,
}

fn any_field() -> impl Strategy<Value = Written> {
    let name = prop::sample::select(vec![
        ":path", ":status", "cookie", "x-a", "x-b", "x-c", "date",
    ]);
    let value = prop_oneof!["[a-c]{0,2}", "[ -~]{0,60}", "[é\u{7f}]{0,9}", "x{900}"];
    (name, value, 0..3_u8, any::<bool>(), any::<bool>()).prop_map(
        |(name, value, form, coded, by_index)| Written {
            name: name.to_owned(),
            value,
            form,
            coded,
            by_index,
        },
    )
}

/// A size that the table gets before a block, if any.
fn any_resize() -> impl Strategy<Value = Option<u16>> {
    prop_oneof![
        4 => Just(None),
        1 => prop::sample::select(vec![0, 40, 200, 1000, 4096, 9000]).prop_map(Some),
    ]
}

/// An encoder that writes fields in any of the ways that there are.
struct Encoder {
    entries: VecDeque<(String, String)>,
    capacity: usize,
}

impl Encoder {
    fn size(&self) -> usize {
        let sizes = self.entries.iter().map(|(n, v)| n.len() + v.len() + 32);
        sizes.sum()
    }

    fn resize(&mut self, capacity: usize, block: &mut Vec<u8>) {
        self.capacity = capacity;
        write_integer(capacity, 5, 0x20, block);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size() > self.capacity {
            self.entries.pop_back();
        }
    }

    fn index(&self, wanted: impl Fn(&str, &str) -> bool) -> Option<usize> {
        let own = self.entries.iter().position(|(n, v)| wanted(n, v));
        let fixed = || {
            (1..=61).find(|&index| {
                let field = Table::new().get(index as u32).unwrap();
                wanted(&field.name.unwrap(), &field.value.unwrap())
            })
        };
        own.map(|place| place + 62).or_else(fixed)
    }

    fn write(&mut self, field: &Written, block: &mut Vec<u8>) {
        let whole = self.index(|name, value| name == field.name && value == field.value);
        if let Some(index) = whole.filter(|_| field.by_index) {
            write_integer(index, 7, 0x80, block);
            return;
        }
        let named = self.index(|name, _| name == field.name);
        let index = named.filter(|_| field.by_index).unwrap_or(0);
        match field.form {
            0 => write_integer(index, 6, 0x40, block),
            1 => write_integer(index, 4, 0x00, block),
            _ => write_integer(index, 4, 0x10, block),
        }
        if index == 0 {
            write_string(&field.name, field.coded, block);
        }
        write_string(&field.value, field.coded, block);
        if field.form == 0 {
            self.entries
                .push_front((field.name.clone(), field.value.clone()));
            self.evict();
        }
    }
}

fn write_integer(value: usize, prefix_bits: u32, pattern: u8, block: &mut Vec<u8>) {
    let mask = (1_usize << prefix_bits) - 1;
    if value < mask {
        block.push(pattern | value as u8);
        return;
    }
    block.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}

fn write_string(text: &str, coded: bool, block: &mut Vec<u8>) {
    let bytes = if coded {
        huffman::encode(text.as_bytes())
    } else {
        text.as_bytes().to_vec()
    };
    write_integer(bytes.len(), 7, u8::from(coded) << 7, block);
    block.extend(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_encoded_is_decoded_and_joins_read_nothing_wrong(
        story in prop::collection::vec(
            (any_resize(), prop::collection::vec(any_field(), 0..8)),
            1..10,
        ),
        from in any::<prop::sample::Index>(),
    ) {
        let mut encoder = Encoder { entries: VecDeque::new(), capacity: 4096 };
        let from = from.index(story.len());
        let (mut whole, mut joined) = (Decoder::new(), Decoder::new());
        joined.forget();
        for (at, (resize, fields)) in story.into_iter().enumerate() {
            let mut block = Vec::new();
            if let Some(capacity) = resize {
                encoder.resize(usize::from(capacity), &mut block);
            }
            fields.iter().for_each(|field| encoder.write(field, &mut block));
            let sent: Vec<Seen> = fields
                .into_iter()
                .map(|field| (Some(field.name), Some(field.value)))
                .collect();
            prop_assert_eq!(&decode(&mut whole, &block), &sent);
            if at >= from {
                unknown_count(&decode(&mut joined, &block), &sent);
            }
        }
    }

    #[test]
    fn blocks_of_a_published_encoder_are_decoded(
        blocks in prop::collection::vec(prop::collection::vec(any_field(), 0..8), 1..10),
    ) {
        let (mut encoder, mut decoder) = (fluke_hpack::Encoder::new(), Decoder::new());
        for fields in blocks {
            let pairs = fields.iter().map(|f| (f.name.as_bytes(), f.value.as_bytes()));
            let block = encoder.encode(pairs);
            let sent: Vec<Seen> = fields
                .into_iter()
                .map(|field| (Some(field.name), Some(field.value)))
                .collect();
            prop_assert_eq!(&decode(&mut decoder, &block), &sent);
        }
    }

    #[test]
    fn any_bytes_are_taken(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..6)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decoder.decode(&block, &mut |_| {});
            assert!(decoder.held_bytes() <= 256 << 10);
        }
    }
}
