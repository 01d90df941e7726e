//! Takes queries over a history and gives parts of them to executors.

use std::net::SocketAddr;

use clap::Parser;

/// Take queries over a history and give parts of them to executors.
#[derive(Parser)]
#[command(name = "parallax-scheduler", version = distributed::VERSION)]
struct Arguments {
    /// Address to listen on; there is no authentication, so choose one that only your machines reach.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050")]
    listen: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let listen = Arguments::parse().listen;
    distributed::runtime()?.block_on(distributed::scheduler::run(listen))
}
