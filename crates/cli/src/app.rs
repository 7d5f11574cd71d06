//! Runs a verb and turns how it ended into an exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::args::{Cli, GlobalArgs, SloArgs, SloVerb, Verb};
use crate::commands::{self, Context};
use crate::exit::Exit;
use crate::host::{
    self,
    agent::{AgentArgs, AgentVerb},
};
use crate::terminal::Console;

/// Runs what was asked for. Errors go to standard error, with what to do next.
pub fn run(cli: Cli) -> ExitCode {
    match verb(cli) {
        Ok(code) => code,
        // Whoever read has read enough: `airboss history | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => {
            let exit = Exit::of_error(&error);
            // Where standard error is gone too, the exit code is all that is left to say it.
            let _ = writeln!(io::stderr(), "airboss: {error:#}");
            exit.into()
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn verb(cli: Cli) -> anyhow::Result<ExitCode> {
    let global = cli.global;
    match cli.verb {
        Verb::Up(args) => host::up::run(args),
        Verb::Serve(args) => host::serve::run(args),
        Verb::Agent(AgentArgs {
            verb: Some(verb), ..
        }) => Ok(agents_verb(verb, global)?.into()),
        Verb::Agent(args) => host::agent::run(args, global.ca),
        Verb::Init(args) => {
            let mut answers = commands::init::on_a_terminal().then(|| io::stdin().lock());
            let answers = answers.as_mut().map(|input| input as &mut dyn io::BufRead);
            commands::init::run(&args, answers, &mut io::stdout(), &mut io::stderr())
        }
        Verb::Check(args) => commands::check::run(
            &args,
            &|service| commands::slo::known(service, &global),
            &mut io::stdin(),
            &mut io::stdout(),
            &mut io::stderr(),
        ),
        Verb::Schema(args) => commands::schema::run(&args, &mut io::stdout()),
        Verb::Judge(args) => {
            Ok(commands::judge::run(&args, &mut io::stdin().lock(), &mut io::stdout())?.into())
        }
        Verb::Rehearse(args) => {
            let progress = io::stderr().is_terminal();
            let console = &mut Console::stdout(global.color);
            Ok(commands::rehearse::run(&args, console, &mut io::stderr(), progress)?.into())
        }
        Verb::Slo(SloArgs {
            verb: SloVerb::Burn(args),
        }) => Ok(commands::slo::past::burn(&args, &mut io::stdout())?.into()),
        Verb::Slo(SloArgs {
            verb: SloVerb::Backtest(args),
        }) if args.is_recording() => {
            Ok(commands::slo::past::run_backtest(&args, &mut io::stdout())?.into())
        }
        Verb::Completions(args) => {
            Ok(commands::completions::run(&args, &mut Console::stdout(global.color))?.into())
        }
        Verb::Keys(args) => Ok(commands::keys::run(args, &mut Context::new(global)?)?.into()),
        Verb::Store(args) => {
            let runtime = tokio::runtime::Runtime::new()?;
            let mut console = Console::stdout(global.color);
            Ok(runtime
                .block_on(commands::store::run(args, &mut console))?
                .into())
        }
        verb => Ok(client_verb(verb, global)?.into()),
    }
}

fn agents_verb(verb: AgentVerb, global: GlobalArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match verb {
            AgentVerb::Join(args) => host::joining::join(&args, global.ca.as_deref()).await,
            AgentVerb::Token(args) => {
                commands::agents::invite(args, &mut Context::new(global)?).await
            }
            AgentVerb::List(args) => commands::agents::list(args, &mut Context::new(global)?).await,
            AgentVerb::Revoke(args) => {
                commands::agents::revoke(args, &mut Context::new(global)?).await
            }
        }
    })
}

fn client_verb(verb: Verb, global: GlobalArgs) -> anyhow::Result<Exit> {
    let mut context = Context::new(global)?;
    let context = &mut context;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match verb {
            Verb::Ship(args) => commands::ship::run(args, context).await,
            Verb::Status(args) => commands::status::run(args, context).await,
            Verb::Watch(args) => commands::watch::run(args, context).await,
            Verb::History(args) => commands::history::run(args, context).await,
            Verb::Pause(args) => commands::act::pause(args, context).await,
            Verb::Resume(args) => commands::act::resume(args, context).await,
            Verb::Promote(args) => commands::act::promote(args, context).await,
            Verb::Abort(args) => commands::act::abort(args, context).await,
            Verb::Rollback(args) => commands::rollback::run(args, context).await,
            Verb::Explain(args) => commands::explain::run(args, context).await,
            Verb::Logs(args) => commands::logs::run(args, context).await,
            Verb::Record(args) => commands::record::run(args, context).await,
            Verb::Slo(args) => commands::slo::run(args, context).await,
            Verb::Trace(args) => commands::trace::run(args, context).await,
            Verb::Artifact(args) => commands::artifact::run(args, context).await,
            Verb::Audit(args) => commands::audit::run(args, context).await,
            Verb::Webhook(args) => commands::webhook::run(args, context).await,
            Verb::Token(args) => commands::token::run(args, context).await,
            Verb::Doctor(args) => commands::doctor::run(args, context).await,
            other => anyhow::bail!("{other:?} has no client: a fault of this program"),
        }
    })
}
