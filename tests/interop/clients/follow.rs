//! Follows a stream with reqwest-eventsource, as its README shows it, but does not close it at an error.
use futures_util::StreamExt;
use reqwest_eventsource::{Event, EventSource};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("follow URL");
    let mut source = EventSource::get(url);
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Open) => {}
            Ok(Event::Message(event)) => println!("{}", serde_json::json!([event.event, event.id, event.data])),
            Err(error) => println!("{error}"),
        }
    }
}
