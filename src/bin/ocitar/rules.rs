//! The rules of a command line, in its order, whichever option gave them.

use std::path::PathBuf;

use clap::ArgMatches;
use ocitar::edit::{RenameRules, Rule, RuleFile};
use ocitar::error::{Code, Error, Result};

use crate::args::Retag;

enum Given<'a> {
    Rule(&'a str),
    Prefix(&'a str),
    Regex(&'a str, &'a str),
    File(RuleFile),
}

/// Reads the rules.
pub fn rules(verb: &Retag, order: Option<&ArgMatches>) -> Result<RenameRules> {
    let given = given(verb, order)?;
    if given.is_empty() {
        return Err(Error::new(Code::Usage, "no rule was given").hint(
            "a NEW name, OLD=NEW, --prefix, --regex, --map, --rules, --registries or --hosts-dir; \
             see `ocitar retag --help`",
        ));
    }
    if verb.reverse && verb.registries.is_empty() && verb.hosts_dir.is_empty() {
        return Err(Error::new(Code::Usage, "--reverse goes with --registries or --hosts-dir")
            .hint("in a file of --rules it is said beside each: reverse = true"));
    }
    let mut rules = RenameRules::new()
        .keep_old(verb.add)
        .drop_unmatched(verb.drop_unmatched)
        .allow_unmatched(verb.allow_unmatched);
    for given in given {
        rules = match given {
            Given::Rule(text) => rules.rule(Rule::parse(text)?),
            Given::Prefix(text) => rules.rule(Rule::prefix(text)?),
            Given::Regex(pattern, replacement) => rules.rule(Rule::regex(pattern, replacement)?),
            Given::File(file) => rules.read(&file)?,
        };
    }
    rules.check()?;
    Ok(rules)
}

/// What was given, in the order of the command line.
fn given<'a>(verb: &'a Retag, order: Option<&ArgMatches>) -> Result<Vec<Given<'a>>> {
    let places = |id: &str| -> Vec<usize> {
        order.and_then(|order| order.indices_of(id)).map(Iterator::collect).unwrap_or_default()
    };
    let mut given: Vec<(usize, Given<'_>)> = Vec::new();
    let first = verb.rule_for_output(order)?;
    given.extend(places("output").into_iter().zip(first.map(Given::Rule)));
    given.extend(places("rules").into_iter().zip(verb.rules.iter().map(|text| Given::Rule(text))));
    given.extend(
        places("prefix").into_iter().zip(verb.prefix.iter().map(|text| Given::Prefix(text))),
    );
    let pairs = verb.regex.chunks_exact(2).map(|pair| Given::Regex(&pair[0], &pair[1]));
    given.extend(places("regex").into_iter().step_by(2).zip(pairs));
    let reverse = verb.reverse;
    let mut files = |id: &str, paths: &'a [PathBuf], file: &dyn Fn(PathBuf) -> RuleFile| {
        let paths = paths.iter().map(|path| Given::File(file(path.clone())));
        given.extend(places(id).into_iter().zip(paths));
    };
    files("map", &verb.map, &RuleFile::Map);
    files("rule_files", &verb.rule_files, &RuleFile::Rules);
    files("registries", &verb.registries, &|path| RuleFile::Registries { path, reverse });
    files("hosts_dir", &verb.hosts_dir, &|path| RuleFile::HostsDir { path, reverse });
    given.sort_by_key(|(place, _)| *place);
    Ok(given.into_iter().map(|(_, given)| given).collect())
}
