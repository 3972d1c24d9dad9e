//! What is on its way to one socket: stretches of the read buffer where possible, own bytes where
//! not, put in between only where a frame ends.
//!
//! A read is parsed in place and handed on in one vectored write. What the socket does not take
//! keeps the read buffer, and nothing more is read for it until it is gone: that is the
//! backpressure.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;

use tokio::net::TcpStream;

/// Size of a read buffer.
pub const BUFFER_BYTES: usize = 512 * 1024;
/// Less than this is copied rather than keeping a whole buffer for it.
const COPY_BYTES: usize = 64 * 1024;
/// Buffers kept for reuse.
const POOLED: usize = 8;
/// Slices in one vectored write.
const MAX_SLICES: usize = 64;

/// Read buffers, shared by all connections of the gateway's thread.
#[derive(Clone, Default)]
pub struct Pool(Rc<RefCell<Vec<Box<[u8]>>>>);

impl Pool {
    /// A buffer of [`BUFFER_BYTES`].
    #[must_use]
    pub fn take(&self) -> Box<[u8]> {
        let pooled = self.0.borrow_mut().pop();
        pooled.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Box<[u8]>) {
        let mut pooled = self.0.borrow_mut();
        if pooled.len() < POOLED {
            pooled.push(buffer);
        }
    }
}

enum Segment {
    /// A stretch of the read buffer that is being parsed, or was kept.
    Read(Range<usize>),
    Own(Vec<u8>),
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Segment::Read(range) => range.len(),
            Segment::Own(bytes) => bytes.len(),
        }
    }
}

/// Bytes on their way to one socket.
#[derive(Default)]
pub struct Output {
    segments: VecDeque<Segment>,
    /// Bytes of the first segment that are written.
    written: usize,
    kept: Option<Box<[u8]>>,
    /// Frames of ours that wait for the end of the frame that is passing.
    waiting: Vec<u8>,
    inside_frame: bool,
    closed: bool,
    pushed_bytes: u64,
}

impl Output {
    /// Hands on a stretch of the read buffer.
    pub fn pass(&mut self, range: Range<usize>) {
        if range.is_empty() || self.closed {
            return;
        }
        self.pushed_bytes += range.len() as u64;
        if let Some(Segment::Read(last)) = self.segments.back_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return;
        }
        self.segments.push_back(Segment::Read(range));
    }

    /// Hands on bytes of our own, as part of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.closed {
            return;
        }
        self.pushed_bytes += bytes.len() as u64;
        if let Some(Segment::Own(last)) = self.segments.back_mut()
            && last.len() < 4096
        {
            last.extend_from_slice(bytes);
            return;
        }
        self.segments.push_back(Segment::Own(bytes.to_vec()));
    }

    /// Hands on a frame that was read: by its place in the read buffer or, if it was put
    /// together, its bytes.
    pub fn pass_frame(&mut self, bytes: &[u8], place: Option<Range<usize>>) {
        match place {
            Some(range) => self.pass(range),
            None => self.push(bytes),
        }
    }

    /// A frame whose end is not here yet begins to pass, or its end has passed.
    pub fn set_inside_frame(&mut self, inside_frame: bool) {
        self.inside_frame = inside_frame;
        if !inside_frame && !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            self.push(&waiting);
        }
    }

    /// Puts a whole frame of ours in, where the frame that is passing ends.
    pub fn inject(&mut self, frame: &[u8]) {
        if self.closed {
            return;
        }
        if self.inside_frame {
            self.waiting.extend_from_slice(frame);
        } else {
            self.push(frame);
        }
    }

    /// Nothing more goes to this socket; what is on its way is dropped.
    pub fn close(&mut self) {
        self.closed = true;
        self.segments.clear();
        self.waiting.clear();
        self.written = 0;
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes handed on so far.
    #[must_use]
    pub const fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes
    }

    /// Writes what the socket takes. `read` is the buffer that passed stretches lie in, while it is
    /// being worked on; otherwise the kept one is meant.
    ///
    /// # Errors
    /// What the socket says, except that it would block.
    pub fn write(&mut self, socket: &TcpStream, read: Option<&[u8]>) -> io::Result<()> {
        while !self.segments.is_empty() {
            let written = {
                let buffer = read.or(self.kept.as_deref()).unwrap_or_default();
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut count = 0;
                for (slot, segment) in slices.iter_mut().zip(&self.segments) {
                    let bytes = match segment {
                        Segment::Read(range) => buffer.get(range.clone()).unwrap_or_default(),
                        Segment::Own(bytes) => bytes.as_slice(),
                    };
                    let skip = if count == 0 { self.written } else { 0 };
                    *slot = IoSlice::new(bytes.get(skip..).unwrap_or_default());
                    count += 1;
                }
                match socket.try_write_vectored(&slices[..count]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(e) => return Err(e),
                }
            };
            self.advance(written);
        }
        Ok(())
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(first) = self.segments.front() {
            if self.written < first.len() {
                return;
            }
            self.written -= first.len();
            self.segments.pop_front();
        }
    }

    /// Copies what still lies in a read buffer, so that the buffer is free.
    pub fn own(&mut self, buffer: &[u8]) {
        for segment in &mut self.segments {
            if let Segment::Read(range) = segment {
                let bytes = buffer.get(range.clone()).unwrap_or_default();
                *segment = Segment::Own(bytes.to_vec());
            }
        }
    }

    /// The read buffer has been worked on: keeps it if much of it is unwritten, copies the rest if
    /// it is little, and gives it back.
    pub fn settle(&mut self, buffer: Box<[u8]>, pool: &Pool) {
        let of_read = |segment: &Segment| match segment {
            Segment::Read(range) => range.len(),
            Segment::Own(_) => 0,
        };
        let left: usize = self.segments.iter().map(of_read).sum();
        if left > COPY_BYTES + self.written {
            self.kept = Some(buffer);
            return;
        }
        self.own(&buffer);
        pool.give(buffer);
    }

    /// Gives a kept buffer back once nothing in it waits any more.
    pub fn release(&mut self, pool: &Pool) {
        let needs_it = |segment: &Segment| matches!(segment, Segment::Read(_));
        if self.kept.is_some()
            && !self.segments.iter().any(needs_it)
            && let Some(buffer) = self.kept.take()
        {
            pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn stretches_and_frames_of_ours_arrive_in_order_through_a_slow_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("address");
        let sender = TcpStream::connect(address).await.expect("connects");
        let (mut receiver, _) = listener.accept().await.expect("accepts");
        let pool = Pool::default();
        let mut output = Output::default();
        let mut expected = Vec::new();
        let mut got = Vec::new();
        for round in 0..40u8 {
            let mut buffer = pool.take();
            buffer.fill(round);
            output.pass(0..300_000);
            output.set_inside_frame(true);
            output.inject(b"waits");
            output.pass(300_000..BUFFER_BYTES);
            output.set_inside_frame(false);
            output.inject(b"passes");
            expected.extend(std::iter::repeat_n(round, BUFFER_BYTES));
            expected.extend(b"waitspasses");
            output.write(&sender, Some(&buffer)).expect("writes");
            output.settle(buffer, &pool);
            while !output.is_empty() {
                let mut chunk = vec![0; 100_000];
                tokio::select! {
                    n = receiver.read(&mut chunk) => got.extend_from_slice(&chunk[..n.expect("reads")]),
                    _ = sender.writable() => output.write(&sender, None).expect("writes"),
                }
            }
            output.release(&pool);
            assert!(output.kept.is_none());
        }
        while got.len() < expected.len() {
            let mut chunk = vec![0; 100_000];
            let n = receiver.read(&mut chunk).await.expect("reads");
            got.extend_from_slice(&chunk[..n]);
        }
        assert!(got == expected);
        assert!(pool.0.borrow().len() <= 2);
    }
}
