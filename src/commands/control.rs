//! `twinlog control` and `twinlog top`.

use crate::Failure;
use crate::cli::{ControlArgs, TopArgs};
use std::process::ExitCode;
use std::sync::Arc;
use twinlog::edge::remote::Remote;
use twinlog::edge::top;

pub fn control(args: ControlArgs) -> Result<ExitCode, Failure> {
    let (place, path, body) = args.request();
    let remote = Remote::new(&place.at, Some(&place.token_file)).map_err(Failure::new)?;
    let answer = remote.post(path, &body).map_err(Failure::new)?;
    println!("{}", answer.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub fn top(args: &TopArgs) -> Result<ExitCode, Failure> {
    let token_file = args.token_file.as_deref();
    let remote = Arc::new(Remote::new(&args.at, token_file).map_err(Failure::new)?);
    top::run(&remote, token_file.is_some()).map_err(Failure::new)?;
    Ok(ExitCode::SUCCESS)
}
