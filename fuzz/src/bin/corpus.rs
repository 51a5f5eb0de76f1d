//! Writes the seed corpora below the folder that is named.

fn main() -> std::io::Result<()> {
    let root = std::env::args_os().nth(1).unwrap_or("corpus".into());
    let written = fuzz::seeds::write(root.as_ref())?;
    println!("{written} seeds in {}", root.display());
    Ok(())
}
