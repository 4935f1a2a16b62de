mod attack;
fn main() {}
