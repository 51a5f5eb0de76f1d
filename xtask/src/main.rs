//! The command line of the chores.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{bench, bundle, checks, faults, fuzz, page, run, seal, serve, supply_chain};

/// Set-up and chores of negprompt.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Build the page with everything it needs, serve it on localhost and print the address.
    ///
    /// Installs what is missing (WASM target, trunk, wasm-bindgen), trains the default bundle if
    /// there is none.
    Demo {
        /// Port to serve on; another free one is taken when it is in use.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Bundle to put beside the page instead of the default run's.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
    },
    /// Build the page into `dist/`, installing what is missing first.
    Web,
    /// Serve a built page on localhost.
    Serve {
        /// Folder to serve.
        #[arg(default_value = "dist")]
        folder: PathBuf,
        /// Port to serve on.
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// Finish a page that trunk has built; trunk calls this itself.
    #[command(hide = true)]
    Seal,
    /// Run every check: format, clippy, page build, all tests, documentation.
    Test,
    /// Kill train, bench, encode, import and lit at random moments and compare what they come to.
    Faults {
        /// Kills in all.
        #[arg(long, default_value_t = 100)]
        kills: u32,
        /// Decides the moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Feed made-up files to every parser, guided by what they reach in it.
    ///
    /// Installs cargo-fuzz when it is missing. Needs Linux and a C++ compiler.
    Fuzz(fuzz::Arguments),
    /// Check licences, duplicate versions, sources and known faults of all dependencies.
    SupplyChain,
    /// Measure.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// ViT-B/32's image tower on the CPU beside PyTorch; with --photos, images a second of `trainer
    /// encode` beside onnxruntime.
    Encode(bench::encode::Arguments),
    /// Time to encode a photo in Chromium, beside onnxruntime-web with the same network.
    Web {
        /// Runs of each that are timed.
        #[arg(long, default_value_t = 30)]
        runs: u32,
        /// Bundle whose image tower is timed, instead of the page's own.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
        /// Where to time it; a large tower takes minutes a photo on the software adapter.
        #[arg(long, value_delimiter = ',', default_value = "cpu,software")]
        devices: Vec<bench::Place>,
    },
    /// A step of learning negative prompts, beside the reference's computation in PyTorch.
    Prompts(bench::prompts::Arguments),
    /// Time and memory of a step against classes, negatives, context, batch and images.
    Scale(bench::scale::Arguments),
    /// Scoring many images, beside the bare matrix product.
    Score(bench::score::Arguments),
    /// Milliseconds that one new class name takes in the browser.
    Classes {
        /// Names to add, one at a time.
        #[arg(long, default_value_t = 30)]
        names: usize,
    },
    /// What a person waits for: the first verdict, the pace, and the page's answer to a key while
    /// photos are read.
    Page {
        /// Photos to read.
        #[arg(long, default_value_t = 200)]
        photos: usize,
    },
    /// The page with many large photos at once: memory, lost cards, cancel.
    Load(bench::load::Arguments),
}

fn main() -> Result<()> {
    let root = run::workspace()?;
    match Arguments::parse().chore {
        Chore::Demo { port, bundle } => {
            let bundle = bundle::find_or_train(&root, bundle)?;
            page::build(&root, Some(&bundle))?;
            serve::serve(&root.join("dist"), port)
        }
        Chore::Web => page::build(&root, bundle::find(&root)?.as_deref()),
        Chore::Serve { folder, port } => serve::serve(&folder, port),
        Chore::Seal => seal::seal(&root),
        Chore::Test => checks::run_all(&root),
        Chore::Faults { kills, seed } => faults::inject(&root, kills, seed),
        Chore::Fuzz(arguments) => fuzz::run(&root, &arguments),
        Chore::SupplyChain => supply_chain::check(&root),
        Chore::Bench { what } => match what {
            Bench::Encode(arguments) => bench::encode::run(&root, arguments),
            Bench::Classes { names } => bench::classes(&root, names),
            Bench::Web {
                runs,
                bundle,
                devices,
            } => bench::web(&root, bundle.as_deref(), &devices, runs),
            Bench::Page { photos } => bench::visit(&root, photos),
            Bench::Load(arguments) => bench::load::load(&root, &arguments),
            Bench::Prompts(arguments) => bench::prompts::run(&root, arguments),
            Bench::Scale(arguments) => bench::scale::run(&root, &arguments),
            Bench::Score(arguments) => bench::score::run(&root, arguments),
        },
    }
}
