//! Where the release comes from, and what becomes of a wrong one.

use crate::fixture::releases;
use crate::members::Members;
use crate::site::{Site, assert_untouched};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

/// Serves the release archives by HTTP; gives its address and the paths that it was asked for.
fn mirror() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (folder, log) = (releases(), asked.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let lines: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
            let file =
                (!path.contains("..")).then(|| fs::read(folder.join(path.trim_start_matches('/'))).ok()).flatten();
            log.lock().unwrap().push(path);
            let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // Whoever hangs up does not want the rest.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (address, asked)
}

pub fn a_release_comes_by_http_and_a_wrong_one_touches_no_host() {
    let site = Site::up(1);
    let (address, asked) = mirror();
    let archive = releases().join("v3.5.16");
    let archive = fs::read_dir(archive).unwrap().map(|entry| entry.unwrap().path());
    let archive = archive.into_iter().find(|path| path.extension().is_some_and(|end| end == "gz")).unwrap();
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(fs::read(&archive).unwrap()));
    let arch = archive.to_str().unwrap().rsplit_once('-').unwrap().1.trim_end_matches(".tar.gz").to_owned();

    let mut inventory = site.inventory(1..=1);
    let url = format!("http://{address}/v{{version}}/etcd-v{{version}}-linux-{{arch}}.tar.gz");
    let with = |digest: &str| format!("{{ url: \"{url}\", sha256: {{ {arch}: {digest} }} }}");
    let before = site.manifest(1);
    let wrong = "0".repeat(64);
    for (release, version, words) in [
        (with(&wrong), "3.5.16", [digest.as_str(), wrong.as_str()]),
        (format!("{{ url: \"{url}\" }}"), "3.5.17", ["/v3.5.17/", "404"]),
        (format!("{{ url: \"{}\" }}", url.replace("v{version}/", "")), "3.5.16", ["/SHA256SUMS", "404"]),
        (
            format!("{{ archive: {} }}", site.path("nothing.tar.gz").display()),
            "3.5.16",
            ["nothing.tar.gz", "fetch_release"],
        ),
    ] {
        inventory.version = version.to_owned();
        inventory.release = release;
        site.write(&inventory);
        site.run("deploy").exits(2).says(&words).says(&["fetch_release: failed"]);
        assert_untouched(&before, &site.manifest(1));
    }
    // Cut short, and damaged, on this machine.
    let whole = fs::read(&archive).unwrap();
    fs::write(site.path("cut.tar.gz"), &whole[..whole.len() / 2]).unwrap();
    inventory.version = "3.5.16".to_owned();
    inventory.release = format!("{{ archive: {} }}", site.path("cut.tar.gz").display());
    site.write(&inventory);
    site.run("deploy").exits(2).says(&["cut.tar.gz"]);
    assert_untouched(&before, &site.manifest(1));

    inventory.release = with(&digest);
    site.write(&inventory);
    asked.lock().unwrap().clear();
    site.run("deploy").exits(0).ends("done: cluster lab is healthy, 1 of 1 members, ");
    Members::of(&site, 1).assert_whole();
    let name = archive.file_name().unwrap().to_str().unwrap();
    assert_eq!(*asked.lock().unwrap(), [format!("/v3.5.16/{name}")]);
    // From now on it is in the cache.
    site.run("deploy").exits(0).says(&["nothing to do"]);
    assert_eq!(asked.lock().unwrap().len(), 1);

    // The flag takes the place of what the inventory says, and a folder is searched.
    inventory.release = with(&wrong);
    site.write(&inventory);
    let folder = archive.parent().unwrap().display().to_string();
    site.run(&format!("deploy --release {folder}")).exits(0).says(&["nothing to do"]);
}
