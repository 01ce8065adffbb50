//! Where the memory of both services comes from, and that it goes back after a crowd has gone.
//!
//! The C library's allocator gives back what lies behind its last block in use, and a shard always has one that came
//! late: a third of a gone crowd stayed resident. jemalloc gives back each page that has been free for 10 s, whether the
//! shard is busy or asleep, because a thread of its own does it.

/// Other C libraries, where that thread cannot be had, keep theirs.
#[cfg(target_env = "gnu")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
