//! `twinlog completions` and `twinlog man`: what a shell and a reader of manuals want of the commands above.

use super::Cli;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  twinlog completions bash > /etc/bash_completion.d/twinlog")]
pub struct CompletionsArgs {
    shell: Shell,
}

impl CompletionsArgs {
    pub fn write(&self, to: &mut dyn Write) {
        clap_complete::generate(self.shell, &mut Cli::command(), "twinlog", &mut { to });
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  twinlog man --dir /usr/local/share/man/man1 && man twinlog-mirror")]
pub struct ManArgs {
    /// Where to write twinlog.1 and a page for each command [default: twinlog.1 alone, to standard output]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match &self.dir {
            None => clap_mangen::Man::new(Cli::command()).render(to),
            Some(dir) => pages(dir),
        }
    }
}

fn pages(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let mut text = Vec::new();
            CompletionsArgs { shell }.write(&mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("take-over") && text.contains("until-caught-up"), "{shell}");
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        ManArgs { dir: Some(dir.path().into()) }.write(&mut io::sink()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("twinlog-mirror.1")).unwrap();
        assert!(page.contains("until\\-caught\\-up"), "{page}");
        assert!(dir.path().join("twinlog.1").exists());
    }
}
