#[path = "../benches/images.rs"]
mod images;
use fruit_delta::*;
use std::time::Instant;
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0 }
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (old, new) = (images::load(a[1].as_ref()), images::load(a[2].as_ref()));
    let ov: Vec<Volume> = old.iter().map(|v| v.volume()).collect();
    let nv: Vec<Volume> = new.iter().map(|v| v.volume()).collect();
    let c0 = cpu(); let t = Instant::now();
    let out = encode(&ov, &nv, &Options::default(), &|_, _| {}).unwrap();
    println!("encode {:.1}s wall {:.1}s cpu", t.elapsed().as_secs_f64(), cpu() - c0);
    let olds: Vec<OldVolume> = old.iter().map(|v| OldVolume { data: &v.bytes, len: v.bytes.len() as u64 }).collect();
    let mut total = 0;
    for (v, sources) in out.iter().enumerate() {
        let (mut copies, mut patches, mut full, mut size, mut fullsize, mut bytes, mut secs) = (0, 0, 0, 0, 0, 0, 0.0);
        let mut worst: f64 = 0.0;
        for (i, s) in sources.iter().enumerate() {
            let chunk = &new[v].bytes[i * CHUNK..((i + 1) * CHUNK).min(new[v].bytes.len())];
            match s {
                Source::Copy { .. } => copies += 1,
                Source::Full => { full += 1; fullsize += zstd::bulk::compress(chunk, 19).unwrap().len(); }
                Source::Patch(p) => {
                    patches += 1; size += p.len(); bytes += chunk.len();
                    let mut o = vec![0; chunk.len()];
                    let mut e = f64::MAX; for _ in 0..2 { let t = Instant::now(); apply(p, &olds, &mut o).unwrap(); e = e.min(t.elapsed().as_secs_f64()); } secs += e; worst = worst.max(e);
                    assert!(o == chunk);
                    if a.len() > 3 { println!("  {v}.{i} {} {:.1}ms", p.len(), e * 1e3); }
                }
            }
        }
        total += size + fullsize;
        println!("volume {v}: {copies} copies, {patches} patches {size} B, {full} full {fullsize} B; apply {:.1} MiB/s, worst {:.0} ms", bytes as f64 / secs / 1048576.0, worst * 1e3);
    }
    let (mut c, t) = (cpu(), Instant::now()); let mut made = 0; for _ in 0..3 { for (v, sources) in out.iter().enumerate() { for (i, s) in sources.iter().enumerate() { if let Source::Patch(p) = s { let mut o = vec![0; CHUNK.min(new[v].bytes.len() - i * CHUNK)]; apply(p, &olds, &mut o).unwrap(); made += o.len(); } } } } c = cpu() - c;
    println!("apply {:.1} MiB per cpu second, {:.1} per second", made as f64 / c / 1048576.0, made as f64 / t.elapsed().as_secs_f64() / 1048576.0);
    println!("total {total}");
}
