//! The commands that documents and `--help` show can be meant: each of them is parsed, and none is carried out.
//!
//! A document's commands are in its blocks of code: what is fenced as `sh`, what is indented by four spaces, and elsewhere what follows a prompt. Of a line,
//! the shell's part is done here: continuation lines, quotes, comments, redirections, and variables, which stand for what the document has assigned to them so
//! far, or for the first value of their loop. What stands in capitals for a file is one. A command with `…` in it is a pattern, and skipped.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What may stand before the program.
const WRAPPERS: [&str; 2] = ["time", "ncu"];
/// What is between two commands of a line.
const SEPARATORS: [&str; 6] = [";", "&&", "||", "|", "do", "done"];

/// A command that is shown to people.
#[derive(Debug, PartialEq)]
struct Shown {
    /// File and line, or whose help.
    place: String,
    /// The program and its arguments.
    words: Vec<String>,
}

/// The lines of a document that may be commands, with their numbers.
fn code(document: &str) -> Vec<(usize, &str)> {
    let (mut fence, mut code) = (None, Vec::new());
    for (number, line) in (1..).zip(document.lines()) {
        let text = line.trim();
        let prompted = text.strip_prefix("$ ");
        match (text.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (None, Some("sh")) => code.push((number, prompted.unwrap_or(text))),
            (None, None) if line.starts_with("    ") => code.push((number, prompted.unwrap_or(text))),
            (None, Some(_)) => code.extend(prompted.map(|text| (number, text))),
            (None, None) => {}
        }
    }
    code
}

/// The words of a line, without quotes and comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(begun) if c == begun => quote = None,
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word = Some(word.unwrap_or_default());
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None if c == ';' => {
                words.extend(word.take());
                words.push(c.to_string());
            }
            None if c == '#' && word.is_none() => break,
            _ => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

/// The words that a word stands for. A variable that is not known stays.
fn expanded(word: &str, variables: &HashMap<String, String>) -> Vec<String> {
    let mut parts = word.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        text += &variables.get(name).cloned().unwrap_or_else(|| format!("${name}"));
        text += rest;
    }
    if text == word { vec![text] } else { text.split_whitespace().map(str::to_owned).collect() }
}

/// A variable's name and value, of `NAME=VALUE`.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.split_once('=').filter(|(name, _)| is_name(name))
}

/// The command of this program that these words are, if they are one.
fn command(words: Vec<String>) -> Option<Vec<String>> {
    let before = |word: &&String| WRAPPERS.contains(&word.as_str()) || assignment(word).is_some();
    let redirects = |word: &str| word.starts_with(['<', '>']) || word.starts_with("2>");
    let words: Vec<String> = words.iter().skip_while(before).take_while(|word| !redirects(word)).cloned().collect();
    let arguments = match &words[..] {
        [program, arguments @ ..] if Path::new(program).file_name().is_some_and(|name| name == "rocl") => arguments,
        [cargo, run, flags @ ..] if cargo == "cargo" && run == "run" && !flags.iter().any(|flag| flag == "--example") => {
            &flags[flags.iter().position(|flag| flag == "--")? + 1..]
        }
        _ => return None,
    };
    let is_pattern = arguments.iter().any(|argument| argument.contains('…'));
    (!is_pattern).then(|| std::iter::once("rocl".to_owned()).chain(arguments.iter().cloned()).collect())
}

/// The commands of this program in lines of a shell.
fn commands(place: &str, lines: &[(usize, &str)]) -> Vec<Shown> {
    let mut variables: HashMap<String, String> = HashMap::new();
    let (mut commands, mut lines) = (Vec::new(), lines.iter());
    while let Some(&(number, first)) = lines.next() {
        let mut line = first.to_owned();
        while let Some(begun) = line.strip_suffix('\\') {
            let next = lines.next().map_or("", |&(_, next)| next);
            line = format!("{begun}{next}");
        }
        for simple in words(&line).split(|word| SEPARATORS.contains(&word.as_str())) {
            match simple {
                [word] if assignment(word).is_some() => {
                    variables.extend(assignment(word).map(|(name, value)| (name.to_owned(), value.to_owned())));
                }
                [start, name, of, value, ..] if start == "for" && of == "in" => {
                    variables.insert(name.clone(), value.clone());
                }
                _ => {
                    let words = simple.iter().flat_map(|word| expanded(word, &variables)).collect();
                    let place = format!("{place}:{number}");
                    commands.extend(command(words).map(|words| Shown { place, words }));
                }
            }
        }
    }
    commands
}

/// The commands of all documents.
fn in_documents() -> Vec<Shown> {
    let root = common::root();
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = pages.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.sort();
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    let of_document = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        commands(&path.strip_prefix(&root).unwrap().display().to_string(), &code(&text))
    };
    paths.into_iter().flat_map(of_document).collect()
}

/// The examples in the help of a command and of those below it.
fn in_help(command: &clap::Command, name: &str) -> Vec<Shown> {
    let helps = [command.get_after_help(), command.get_after_long_help()];
    let own = helps.into_iter().flatten().flat_map(|help| {
        let help = help.to_string();
        let lines = (1..).zip(help.lines().map(str::trim)).skip_while(|(_, line)| *line != "Examples:");
        commands(&format!("help of {name}"), &lines.collect::<Vec<_>>())
    });
    let below = command.get_subcommands().flat_map(|below| in_help(below, &format!("{name} {}", below.get_name())));
    own.chain(below).collect()
}

/// What is wrong with a command.
fn problem(Shown { place, words }: &Shown) -> Option<String> {
    let line = words.join(" ");
    if let Some(word) = words.iter().find(|word| word.contains('$')) {
        return Some(format!("{place}: {line}\n  nothing was assigned to {word}"));
    }
    let error = rocl::cli::command().try_get_matches_from(words).err()?;
    // Help that was asked for is no mistake.
    error.use_stderr().then(|| format!("{place}: {line}\n  {error}"))
}

#[test]
fn every_command_that_is_shown_can_be_parsed() {
    let (documents, help) = (in_documents(), in_help(&rocl::cli::command(), "rocl"));
    assert!(documents.len() >= 30 && help.len() >= 40, "{} and {} commands were found", documents.len(), help.len());
    let wrong: Vec<String> = documents.iter().chain(&help).filter_map(problem).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), documents.len() + help.len(), wrong.join("\n"));
}

#[test]
fn lines_are_read_as_a_shell_reads_them() {
    let document = "\
Words, and `rocl demo` among them.

    D='--limit 8 --quiet'   # for all

```text
$ rocl recipes
rocl    94.2 %
```

   ```sh
   for row in a b; do
       ./target/release/rocl pretrain $D --recipe $row \\
           --out out/$row > \"a log\"   # as before
       RUST_BACKTRACE=1 rocl evaluate --head $none; rocl ablate …
   done
   cargo run --release -- demo
   cargo run --release --example own_loss
   ```
";
    let found = commands("page", &code(document));
    let expected = [
        ("page:6", "rocl recipes"),
        ("page:12", "rocl pretrain --limit 8 --quiet --recipe a --out out/a"),
        ("page:14", "rocl evaluate --head $none"),
        ("page:16", "rocl demo"),
    ];
    let expected = expected.map(|(place, line)| Shown { place: place.to_owned(), words: words(line) });
    assert_eq!(found, expected);
    assert!(problem(&found[2]).unwrap().contains("nothing was assigned to $none"));
    assert!(problem(&Shown { place: String::new(), words: words("rocl demo --lmit 8") }).unwrap().contains("--limit"));
    assert_eq!(problem(&found[0]), None);
}
