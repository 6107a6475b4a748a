//! The binary: `__attempt` and `__act` before anything else is set up, then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|a| a == "__attempt") {
        return blackstart::supervisor::attempt_main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == "__act") {
        return blackstart::actions::main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == "__node") {
        return blackstart::sandbox::node::main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == "__world") {
        return blackstart::sandbox::world::main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == "__tool") {
        return blackstart::sandbox::tools::main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == "__api") {
        return blackstart::sandbox::standalone::main();
    }
    if let Err(e) = color_eyre::install() {
        eprintln!("blackstart: {e}");
    }
    blackstart::cli::main()
}
