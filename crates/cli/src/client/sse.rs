//! Server-sent events, read as the WHATWG HTML standard describes (section 9.2.6).

/// Most bytes of one event; a longer one is an error, so that a runaway server cannot fill memory.
pub const EVENT_MAX: usize = 8 << 20;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// The last `id:` so far.
    pub id: Option<String>,
    /// What `event:` said; empty where nothing was said.
    pub event: String,
    /// The `data:` lines, joined by line ends.
    pub data: String,
}

/// An event is longer than [`EVENT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one event is longer than {EVENT_MAX} bytes")]
pub struct TooLong;

/// Takes bytes as they arrive, cut anywhere, and gives whole events.
#[derive(Debug, Default)]
pub struct Parser {
    pending: Vec<u8>,
    /// Bytes of `pending` known to hold no line end, so that no byte is looked at twice.
    scanned: usize,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
}

impl Parser {
    /// Adds bytes; gives the events that they complete.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is then of no further use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        let mut bytes = bytes;
        if self.after_cr
            && let Some(&first) = bytes.first()
        {
            self.after_cr = false;
            if first == b'\n' {
                bytes = &bytes[1..];
            }
        }
        self.pending.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(at) = self.pending[self.scanned..]
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\r'))
        {
            let end = self.scanned + at;
            let line = String::from_utf8_lossy(&self.pending[start..end]).into_owned();
            start = end + 1;
            if self.pending[end] == b'\r' {
                match self.pending.get(start) {
                    Some(b'\n') => start += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.scanned = start;
            events.extend(self.line(&line));
        }
        self.pending.drain(..start);
        self.scanned = self.pending.len();
        let held = self.pending.len() + self.data.as_ref().map_or(0, String::len);
        if held > EVENT_MAX {
            return Err(TooLong);
        }
        Ok(events)
    }

    fn line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| SseEvent {
                id: self.id.clone(),
                event,
                data,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment (nothing before the colon) keeps the connection alive.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ": hello\nid: 7\nevent: lane\ndata: {\"a\":\ndata: 1}\n\nretry: 3\r\n\r\ndata:x\rdata: y\r\n\r\nid: 8\ndata\n\ndata: cut";

    fn expected() -> Vec<SseEvent> {
        let event = |id: &str, event: &str, data: &str| SseEvent {
            id: Some(id.into()),
            event: event.into(),
            data: data.into(),
        };
        vec![
            event("7", "lane", "{\"a\":\n1}"),
            event("7", "", "x\ny"),
            event("8", "", ""),
        ]
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..TEXT.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for part in TEXT.as_bytes().chunks(size) {
                events.extend(parser.feed(part).unwrap());
            }
            assert_eq!(events, expected(), "in parts of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let part = vec![b'x'; 1 << 20];
        let refused = (0..16).any(|_| parser.feed(&part).is_err());
        assert!(refused);
    }
}
