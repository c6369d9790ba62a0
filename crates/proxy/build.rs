//! Makes Rust of the definitions in `proto/`, without a system package.

use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let root = Path::new("proto");
    let files = ["definition", "service", "admin"].map(|name| format!("apache/rocketmq/v2/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(files, [root]).map_err(io::Error::other)?;
    // Bodies and receipts are slices of what was read from the socket.
    prost_build::Config::new().bytes(["."]).compile_fds(files)
}
