//! What a program prints of messages that make Arrow's reader panic: nothing. In a program of its own, since what panics call
//! is one for all threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use feed::FeedMessage;
use feed::decode::{FeedDecoder, is_decoding, silence_caught_panics};
use feed::encode::FeedEncoder;
use flow::builder::FlowBatchBuilder;
use flow::record::FlowRecord;

#[test]
fn a_panic_of_arrows_reader_is_an_error_and_nothing_else() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    std::panic::set_hook(Box::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    silence_caught_panics();

    let mut builder = FlowBatchBuilder::new(1, 0);
    builder.append(&FlowRecord {
        time_ns: 1_700_000_000_000_000_000,
        verdict: 1,
        is_reply: Some(true),
        ..FlowRecord::default()
    });
    let batch = builder.seal().expect("a row");
    let messages = FeedEncoder::default()
        .batch(&FeedMessage::default(), &batch)
        .expect("it can be encoded");
    let last = messages.len() - 1;
    let mut caught = 0;
    for place in 0..messages[last].data_header.len() {
        let mut messages = messages.clone();
        let mut header = messages[last].data_header.to_vec();
        header[place] = 0x7f;
        messages[last].data_header = header.into();
        let mut decoder = FeedDecoder::default();
        for data in messages {
            if let Err(error) = decoder.push(data) {
                caught += usize::from(error.to_string().contains("do not fit its columns"));
            }
        }
    }
    assert!(caught > 0, "no message made the reader panic");
    assert_eq!(told.load(Ordering::SeqCst), 0);

    // Any other panic is told as ever.
    assert!(!is_decoding());
    assert!(std::thread::spawn(|| panic!("of a test")).join().is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
}
