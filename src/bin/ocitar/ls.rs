//! `ocitar ls`: the images of archives, as `ctr images ls` lists them.

use ocitar::archive::{Access, Archive, Image, ImageManifest};
use ocitar::error::Result;
use ocitar::text::{printable, size};
use serde_json::{Value, json};

use crate::args::{Common, Ls};
use crate::output::{self, Printer, error_json, exit_code, finding_json, table, worse};

pub fn run(verb: &Ls, common: &Common, printer: &Printer) -> Result<u8> {
    let mut rows = Vec::new();
    let mut archives = Vec::new();
    let mut code = 0;
    for input in &verb.inputs {
        let opened = crate::open(input, Access::Metadata, common, None);
        match opened.and_then(Archive::check) {
            Ok(archive) => {
                printer.warnings(archive.label(), archive.findings());
                archives.push(archive_json(&archive));
                rows.extend(archive.images().iter().flat_map(|image| rows_of(&archive, image)));
            }
            Err(error) => {
                printer.error(&error);
                archives.push(
                    json!({ "path": input.display().to_string(), "error": error_json(&error) }),
                );
                code = worse(code, exit_code(&error));
            }
        }
    }
    let several = verb.inputs.len() > 1;
    if printer.json {
        output::json_data(&json!({ "archives": archives }))?;
    } else if printer.quiet {
        let names = rows
            .iter()
            .filter(|row| !row[1].starts_with(UNNAMED))
            .map(|row| format!("{}\n", row[1]));
        output::data(names.collect::<String>().as_bytes())?;
    } else if !rows.is_empty() || code == 0 {
        let mut header = vec!["ARCHIVE", "REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS"];
        if !several {
            header.remove(0);
            rows.iter_mut().for_each(|row| drop(row.remove(0)));
        }
        output::data(fitted(header, rows, output::terminal_width()).as_bytes())?;
    }
    Ok(code)
}

/// The table, in a terminal that is too narrow for it with types and digests cut
/// short, then without types. What is piped is never cut.
fn fitted(
    mut header: Vec<&'static str>,
    mut rows: Vec<Vec<String>>,
    width: Option<usize>,
) -> String {
    let is_too_wide = |text: &str| {
        width.is_some_and(|columns| text.lines().any(|line| line.chars().count() > columns))
    };
    let mut text = table(&header, &rows);
    let kind = header.len() - TYPE_FROM_END;
    if is_too_wide(&text) {
        for row in &mut rows {
            row[kind] = row[kind].trim_start_matches("application/vnd.").to_owned();
            row[kind + 1] = output::short_digest(&row[kind + 1]);
        }
        text = table(&header, &rows);
    }
    if is_too_wide(&text) {
        header.remove(kind);
        rows.iter_mut().for_each(|row| drop(row.remove(kind)));
        text = table(&header, &rows);
    }
    text
}

/// Where TYPE stands, before DIGEST, SIZE and PLATFORMS.
const TYPE_FROM_END: usize = 4;

const UNNAMED: &str = "<none>";

/// One row a name; an image without any has one row, too.
fn rows_of(archive: &Archive, image: &Image) -> Vec<Vec<String>> {
    let digest = image.digest().map_or_else(|| "-".to_owned(), |digest| digest.to_string());
    let media_type = match image.media_type().as_str() {
        "" => "-".to_owned(),
        text => printable(text).into_owned(),
    };
    let platforms: Vec<String> = image.platforms().map(platform_text).collect();
    let platforms = if platforms.is_empty() { "-".to_owned() } else { platforms.join(",") };
    let bytes = size(archive.size_of(image));
    let row = |name: &str| {
        vec![
            printable(archive.label()).into_owned(),
            printable(name).into_owned(),
            media_type.clone(),
            digest.clone(),
            bytes.clone(),
            platforms.clone(),
        ]
    };
    if image.names().is_empty() {
        let tag = image.bare_tags().next();
        return vec![
            row(&tag.map_or_else(|| UNNAMED.to_owned(), |tag| format!("{UNNAMED}:{tag}"))),
        ];
    }
    image.names().iter().map(|name| row(&name.to_string())).collect()
}

/// A platform, marked when the archive does not hold all of it.
pub fn platform_text(manifest: &ImageManifest) -> String {
    let platform =
        manifest.platform().map_or_else(|| "unknown".to_owned(), |platform| platform.to_string());
    let platform = printable(&platform).into_owned();
    match (manifest.is_complete(), manifest.is_present() && manifest.config_entry().is_some()) {
        (true, _) => platform,
        (false, true) => format!("{platform}(incomplete)"),
        (false, false) => format!("{platform}(absent)"),
    }
}

fn archive_json(archive: &Archive) -> Value {
    let images = archive.images().iter().map(|image| {
        let platforms = image.platforms().map(|manifest| {
            json!({
                "platform": manifest.platform().map(|platform| platform.to_string()),
                "complete": manifest.is_complete(),
                "manifest": manifest.descriptor().map(|descriptor| descriptor.digest.to_string()),
                "config": manifest.config_digest().map(|digest| digest.to_string()),
            })
        });
        json!({
            "names": image.names().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tags": image.bare_tags().collect::<Vec<_>>(),
            "type": image.media_type().as_str(),
            "digest": image.digest().map(|digest| digest.to_string()),
            "size": archive.size_of(image),
            "platforms": platforms.collect::<Vec<_>>(),
        })
    });
    json!({
        "path": archive.label(),
        "format": archive.format().map(|format| format.as_str()),
        "compression": archive.compression().as_str(),
        "images": images.collect::<Vec<_>>(),
        "findings": archive.findings().iter().map(finding_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_terminals_get_less() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cells =
            ["a:1", "application/vnd.oci.image.index.v1+json", &digest, "1 KiB", "linux/arm"];
        let header = vec!["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS"];
        let printed =
            |width| fitted(header.clone(), vec![cells.map(str::to_owned).to_vec()], width);
        let rows = [
            (None, format!("a:1 application/vnd.oci.image.index.v1+json {digest} 1 KiB linux/arm")),
            (Some(70), "a:1 oci.image.index.v1+json sha256:aaaaaaaaaaaa 1 KiB linux/arm".into()),
            (Some(60), "a:1 sha256:aaaaaaaaaaaa 1 KiB linux/arm".into()),
            (Some(10), "a:1 sha256:aaaaaaaaaaaa 1 KiB linux/arm".into()),
        ];
        for (width, want) in rows {
            assert_eq!(printed(width).lines().nth(1), Some(&*want), "{width:?}");
        }
    }
}
