//! The first process of the initramfs.

fn main() {
    if !rustix::process::getpid().is_init() {
        fruit_output::talk(format_args!(
            "fruit-init is the first process of an initramfs; it does nothing when started otherwise"
        ));
        std::process::exit(2);
    }
    fruit_init::boot::run()
}
