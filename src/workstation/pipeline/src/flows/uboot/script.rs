//! The U-Boot script of an image: one text for all boards, with a board's addresses filled in.

/// Where things go in the memory of one U-Boot machine, hexadecimal addresses.
/// One image can start on several: a card for the Pi 3 also starts on QEMU's generic board, which tests use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// U-Boot's own name of the board, its variable `board`.
    pub board: String,
    /// Where the card is when U-Boot does not say what it booted from: `mmc 0`.
    pub disk: String,
    /// 64 KiB at this address are the script's own; a multiple of 64 KiB.
    pub scratch: u64,
    pub kernel: u64,
    pub initramfs: u64,
    /// Where the slot's device tree is loaded; none: the tree that U-Boot itself was given is used.
    pub device_tree: Option<u64>,
    /// The slot's device tree; none: the one that U-Boot finds for the hardware (`fdtfile`).
    pub device_tree_file: Option<String>,
    /// Where a compressed kernel is unpacked.
    pub unpack: Option<u64>,
    /// `console=` arguments for the kernel on this machine.
    pub console: String,
}

impl Machine {
    fn settings(&self) -> String {
        let mut settings = vec![
            format!("setenv m {:04x}", self.scratch >> 16),
            format!("setenv kernel {:08x}", self.kernel),
            format!("setenv ramdisk {:08x}", self.initramfs),
            "setenv fdt_machine ${fdt_addr}".to_owned(),
            format!("setenv console_args \"{}\"", self.console),
            format!("setenv disk \"{}\"", self.disk),
        ];
        if let Some(address) = self.device_tree {
            settings.push(format!("setenv fdt_load {address:08x}"));
        }
        if let Some(file) = &self.device_tree_file {
            settings.push(format!("setenv fdtfile {file}"));
        }
        if let Some(address) = self.unpack {
            settings.push(format!("setenv kernel_comp_addr_r {address:08x}"));
            settings.push(format!("setenv kernel_comp_size {UNPACK_SIZE:x}"));
        }
        settings.join("; ")
    }
}

/// Room for a compressed kernel: more than any distribution's.
const UNPACK_SIZE: u64 = 64 << 20;

/// How the loaded kernel is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `booti`: a plain or gzip-compressed arm64 Image.
    Arm64Image,
    /// `bootz`: a 32-bit ARM zImage.
    ArmZimage,
    /// `zboot`: an x86 bzImage.
    Bzimage,
}

const TEMPLATE: &str = include_str!("boot.cmd");

/// The script's text. `copies`: first sectors (512 bytes) on the disk of the two copies of the boot-control block.
pub fn text(machines: &[Machine], start: Start, copies: [u64; 2]) -> String {
    let machines: String = machines
        .iter()
        .map(|machine| format!("if test \"${{board}}\" = {}; then {}; fi\n", machine.board, machine.settings()))
        .collect();
    let start = match start {
        Start::Arm64Image => "booti ${kernel} ${ramdisk}:${filesize} ${fdt}",
        Start::ArmZimage => "bootz ${kernel} ${ramdisk}:${filesize} ${fdt}",
        Start::Bzimage => "zboot ${kernel} ${kernel_size} ${ramdisk} ${filesize}",
    };
    without_comments(
        &TEMPLATE
            .replace("@MACHINES@\n", &machines)
            .replace("@COPY0@", &format!("{:x}", copies[0]))
            .replace("@COPY1@", &format!("{:x}", copies[1]))
            .replace("@LOADER@", &fruit_contract::bootctl::LOADER.to_string())
            .replace("@BOOT@", start),
    )
}

/// The loader reads the card slowly; comments are for us.
fn without_comments(script: &str) -> String {
    let mut text = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// U-Boot's environment for boards that read one from the firmware partition: no waiting, straight to our script.
/// `board` must be said, since this environment replaces the built-in one that has it.
pub fn environment(board: &str) -> Vec<(String, String)> {
    [
        ("board", board),
        ("bootcmd", "load mmc 0:1 ${scriptaddr} boot.scr && source ${scriptaddr}"),
        ("bootdelay", "0"),
        ("preboot", ""),
        ("scriptaddr", "05100000"),
        ("stderr", "serial"),
        ("stdin", "serial"),
        ("stdout", "serial"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi3() -> Machine {
        Machine {
            board: "rpi".to_owned(),
            disk: "mmc 0".to_owned(),
            scratch: 0x0500_0000,
            kernel: 0x0020_0000,
            initramfs: 0x0700_0000,
            device_tree: Some(0x0600_0000),
            device_tree_file: None,
            unpack: Some(0x0a00_0000),
            console: "console=ttyS1,115200".to_owned(),
        }
    }

    #[test]
    fn every_placeholder_is_filled() {
        let text = text(&[pi3()], Start::Arm64Image, [0x61800, 0x61808]);
        assert!(!text.contains('@'), "{text}");
        assert!(text.contains("setenv st1 61808\n"));
        assert!(text.contains("setenv m 0500;"));
        assert!(text.contains(&format!("fruit.slot=${{s}} fruit.loader={}\"", fruit_contract::bootctl::LOADER)));
    }

    #[test]
    fn no_line_is_longer_than_the_loader_takes() {
        // CONFIG_SYS_CBSIZE is 1024 on the smallest of our boards.
        let text = text(&[pi3()], Start::Arm64Image, [0x61800, 0x61808]);
        assert!(text.lines().all(|line| line.len() < 1000));
    }
}
