//! `twinlog config`: what it prints, writes and exits with.

use crate::Failure;
use crate::cli::{ConfigArgs, ConfigCommand, ImportArgs};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use twinlog::config::mirrormaker::Flow;

pub fn config(args: ConfigArgs) -> Result<ExitCode, Failure> {
    match args.command {
        ConfigCommand::Import(args) => import(*args)?,
        ConfigCommand::Explain(args) => println!("{}", args.answer()?),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(args: ImportArgs) -> Result<(), Failure> {
    let out_dir = args.out_dir.clone();
    let flows = args.flows()?;
    for flow in &flows {
        // What is written must be what would run.
        flow.draft.clone().build()?;
    }
    match out_dir {
        Some(directory) => flows.iter().try_for_each(|flow| write(&directory, flow)),
        None => {
            for flow in &flows {
                println!("# ---- {}.toml ----\n{}", flow.link, flow.file());
            }
            Ok(())
        }
    }
}

/// A file that is there already is somebody's work.
fn write(directory: &Path, flow: &Flow) -> Result<(), Failure> {
    let path = directory.join(format!("{}.toml", flow.link));
    let problem = |error| Failure::new(format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(directory).map_err(problem)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(problem)?;
    file.write_all(flow.file().as_bytes()).map_err(problem)?;
    println!("{}", path.display());
    flow.lines.iter().for_each(|line| println!("  {line}"));
    Ok(())
}
