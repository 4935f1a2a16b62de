mod loss;
fn main() {}
