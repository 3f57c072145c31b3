//! Events as bytes and as JSON: what is taken is shown as one line of JSON, and what that says is taken again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pilot::services::events::batch::{elements, items};
use pilot::services::events::event::EventView;
use pilot::services::events::frame::take_frame;
use pilot::services::events::json::{EventJson, put_json};
use pilot::services::events::topic::{Pattern, topic};

fuzz_target!(|bytes: &[u8]| {
    items(bytes).for_each(drop);
    let mut stream = BytesMut::from(bytes);
    while let Ok(Some(frame)) = take_frame(&mut stream) {
        elements(&frame).for_each(drop);
    }
    if let Ok(view) = EventView::parse(bytes) {
        let mut line = Vec::new();
        put_json(&view, &mut line);
        assert!(!line.contains(&b'\n'));
        assert!(EventJson::parse(&line).is_ok());
    }
    if let Ok(event) = EventJson::parse(bytes) {
        let _ = event.put(None, &mut BytesMut::new());
    }
    if let (Ok(topic), Ok(text)) = (topic(bytes), std::str::from_utf8(bytes)) {
        assert!(Pattern::all().matches(topic) || topic.split('.').any(|token| token.starts_with('_')));
        let _ = Pattern::parse(text);
    }
});
