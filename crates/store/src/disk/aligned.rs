//! Memory for reads and writes that go past the operating system's cache.

/// What devices and file systems want writes to be multiples of.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// Memory that begins at a block's border: that of `memory` from `start` on.
pub(crate) struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let memory = vec![0; bytes + BLOCK_BYTES];
        // The address decides nothing but where in the memory the buffer begins.
        let start = (memory.as_ptr() as usize).next_multiple_of(BLOCK_BYTES) - memory.as_ptr() as usize;
        Self { memory, start }
    }

    pub(crate) fn get(&self, bytes: usize) -> &[u8] {
        self.memory.get(self.start..self.start + bytes).unwrap_or_default()
    }

    pub(crate) fn get_mut(&mut self, bytes: usize) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + bytes).unwrap_or_default()
    }
}
