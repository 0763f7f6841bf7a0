//! x
fn main() {
    for path in std::env::args().skip(1) {
        let access = ocitar::archive::Access::Metadata;
        match ocitar::archive::OpenOptions::new().access(access).open(&path) {
            Ok(a) => {
                println!("{path}: {:?} {}", a.format(), a.compression());
                for i in a.images() {
                    let names: Vec<_> = i.names().iter().map(|n| n.to_string()).collect();
                    let p: Vec<_> = i.platforms().map(|m| format!("{}{}", m.platform().map(|p| p.to_string()).unwrap_or_default(), if m.is_complete() {""} else {"!"})).collect();
                    println!("  {names:?} {:?} {} {p:?}", i.digest(), a.size_of(i));
                }
                for d in a.findings() { println!("   {}: {}", d.severity.as_str(), d.error); }
            }
            Err(e) => println!("{path}: ERR {e}"),
        }
    }
}
