use super::*;
use crate::data::numpy::IntegerType;

/// `numpy.array([[97, 98, 99], [100, 101, 102]], 'uint8')` as Python 2 pickles it in protocol 2.
const ARRAY: &[u8] =
    b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02K\x03\x86\
    cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87Rq\x05(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06abcdeftb";

/// The same as Python 3 pickles it with NumPy 2: protocol 2, where bytes are text that is encoded, and protocol 4.
const ARRAY_PYTHON_3: &[u8] = b"cnumpy._core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85q\x03c_codecs\nencode\nq\x04X\x01\
    \x00\x00\x00bq\x05X\x06\x00\x00\x00latin1q\x06\x86q\x07Rq\x08\x87q\tRq\n(K\x01K\x02K\x03\x86q\x0bcnumpy\ndtype\nq\x0cX\x02\x00\x00\
    \x00u1q\r\x89\x88\x87q\x0eRq\x0f(K\x03X\x01\x00\x00\x00|q\x10NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x11b\x89h\x04X\x06\x00\x00\
    \x00abcdefq\x12h\x06\x86q\x13Rq\x14tq\x15b";
const ARRAY_PROTOCOL_4: &[u8] = b"\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\
    \x93\x94K\x00\x85\x94C\x01b\x94\x87\x94R\x94(K\x01K\x02K\x03\x86\x94h\x03\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\
    \x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b\x89C\x06abcdef\x94t\x94b";

/// A dictionary with `data` and another item, in the protocol.
fn pickle(protocol: u8, array: &[u8], more: &[u8]) -> Vec<u8> {
    // In protocol 4 the key is the first to be memoised, so that the array's numbers are right.
    let (key, memo): (&[u8], &[u8]) = if protocol == 4 { (b"\x8c\x04data", b"") } else { (b"U\x04data", b"q\x00") };
    [&[0x80, protocol, b'}'], memo, b"(", key, array, more, b"u."].concat()
}

fn expected() -> Array<'static> {
    Array { shape: vec![2, 3], element: IntegerType::U8, fortran: false, bytes: b"abcdef".into() }
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    match read(bytes) {
        Ok(pickle) => panic!("was read: {pickle:?}"),
        Err(message) => assert!(message.contains(why), "{message}"),
    }
}

#[test]
fn arrays_as_each_python_writes_them() {
    for (protocol, array) in [(2, ARRAY), (2, ARRAY_PYTHON_3), (4, ARRAY_PROTOCOL_4)] {
        assert_eq!(read(&pickle(protocol, array, b"")).unwrap().array("data"), Ok(&expected()));
    }
}

#[test]
fn an_order_of_elements_is_kept() {
    let at = ARRAY.iter().rposition(|&byte| byte == 0x89).unwrap();
    let mut fortran = ARRAY.to_vec();
    fortran[at] = 0x88;
    assert!(read(&pickle(2, &fortran, b"")).unwrap().array("data").unwrap().fortran);
}

#[test]
fn labels_are_a_list_or_an_array() {
    let list = b"U\x06labels]q\x09(K\x01M\x00\x01J\xfe\xff\xff\xffe";
    assert_eq!(read(&pickle(2, ARRAY, list)).unwrap().integers("labels"), Ok(vec![1, 256, -2]));
    assert_eq!(read(&pickle(2, ARRAY, b"U\x06labels]K\x07a")).unwrap().integers("labels"), Ok(vec![7]));
    let array =
        b"U\x06labelscnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\n\
        U\x02i2K\x00K\x01\x87R(K\x03U\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x07\xff\xfftb";
    assert_eq!(read(&pickle(2, ARRAY, array)).unwrap().integers("labels"), Ok(vec![7, -1]));
}

#[test]
fn what_is_missing_or_of_another_kind_is_said() {
    let bytes = pickle(2, ARRAY, b"U\x06labels]U\x01xa");
    let pickle = read(&bytes).unwrap();
    assert!(pickle.array("images").unwrap_err().contains("has no `images`"));
    assert!(pickle.array("labels").unwrap_err().contains("has a list under `labels` where an array is needed"));
    assert!(pickle.integers("labels").unwrap_err().contains("has a string in `labels` where a number is needed"));
    assert!(pickle.integers("data").unwrap_err().contains("has an array under `data` where a list of numbers is needed"));
}

#[test]
fn only_the_functions_of_arrays_are_known() {
    refused(b"\x80\x02cos\nsystem\nU\x02ls\x85R.", "asks for os.system, which CIFAR's files do not, so it was not trusted");
    refused(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "asks for posix.system");
    refused(b"\x80\x02c__builtin__\neval\n.", "asks for __builtin__.eval");
    refused(b"\x80\x02cnumpy\nload\n.", "asks for numpy.load");
    refused(b"\x80\x02c\xff\x1b[31m\nx\n.", r"asks for \xff\x1b[31m.x");
    // Known ones do nothing but what arrays need.
    refused(b"\x80\x02cnumpy\nndarray\n)R.", "calls a function with arguments that CIFAR's files do not give it");
    refused(b"\x80\x02cnumpy\ndtype\nU\x01OK\x00K\x01\x87R.", "an array of type `O`, not of integers");
    refused(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R.", "calls a function");
    refused(b"\x80\x02c_codecs\nencode\nU\x01aU\x05utf-8\x86R.", "encodes text in another encoding than latin1");
    refused(b"\x80\x02K\x01)R.", "calls a number");
    refused(b"\x80\x02]K\x01b.", "has a number where a tuple is needed");
    refused(b"\x80\x02])b.", "gives a list a state that CIFAR's files do not");
}

#[test]
fn other_operations_and_protocols_are_refused() {
    refused(b"", "is no pickle");
    refused(b"(dp0\n.", "is no pickle of protocol 2 or later");
    refused(b"\x80\x05}.", "protocol 5, but 2 to 4 are read");
    refused(b"\x80\x02G\x00\x00\x00\x00\x00\x00\x00\x00.", "the pickle operation 0x47 at byte 2, which CIFAR's files do not use");
    for code in [b'i', b'o', b'P', b'Q', 0x81, 0x82, 0x92, 0x97, 0x98] {
        refused(&[0x80, 2, code, b'.'], &format!("operation 0x{code:02x}"));
    }
    refused(b"\x80\x02K\x01.", "holds a number where a dictionary is needed");
}

#[test]
fn a_machine_out_of_order_is_refused() {
    refused(b"\x80\x02.", "takes a value from an empty stack");
    refused(b"\x80\x02q\x00.", "uses a value of an empty stack");
    refused(b"\x80\x02h\x07.", "recalls value 7, which it has not kept");
    refused(b"\x80\x02K\x01(\x85.", "takes a value from an empty stack");
    refused(b"\x80\x02t.", "ends a sequence that it has not begun");
    refused(b"\x80\x02}(K\x01u.", "has a key without a value");
    refused(b"\x80\x02}K\x01a.", "appends to a dictionary");
    refused(b"\x80\x02]K\x01K\x02s.", "sets a key of a list");
    refused(&[&b"\x80\x02"[..], &[b'('; 17]].concat(), "nests more than 16 values");
    refused(b"\x80\x02T\xff\xff\xff\x7f.", "ends in the middle of a pickle");
    refused(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "ends in the middle of a pickle");
}

#[test]
fn a_short_pickle_makes_no_large_one() {
    refused(&[&b"\x80\x02"[..], &[b'N'; (1 << 20) + 1]].concat(), "holds more than 1048576 values");
    refused(&[&b"\x80\x02Nq\x00"[..], &b"h\x00".repeat(1 << 20)].concat(), "holds more than 1048576 values");
    // One long text, encoded again and again.
    let text = [&b"\x80\x02X\x00\x10\x00\x00"[..], &[b'a'; 4096], b"q\x00U\x06latin1q\x01c_codecs\nencode\nq\x02"].concat();
    refused(&[&text[..], &b"h\x02h\x00h\x01\x86R".repeat(3)].concat(), "encodes the same text more than once");
    // A second array of the same bytes, which the first has taken.
    let second = b"h\x01h\x02K\x00\x85h\x08\x87R(K\x01K\x02K\x03\x86h\x0f\x89h\x14tb";
    refused(&pickle(2, ARRAY_PYTHON_3, &[&b"U\x01x"[..], second].concat()), "has an array of shape [2, 3] in 0 bytes");
}

/// Wherever it is cut off, it is refused.
#[test]
fn no_beginning_is_taken_for_the_whole() {
    for (protocol, array) in [(2, ARRAY), (2, ARRAY_PYTHON_3), (4, ARRAY_PROTOCOL_4)] {
        let bytes = pickle(protocol, array, b"");
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "the first {length} bytes were read");
        }
    }
}

#[test]
fn the_shape_fits_the_bytes() {
    let at = ARRAY.windows(4).position(|window| window == b"K\x02K\x03").unwrap();
    let mut other = ARRAY.to_vec();
    other[at + 1] = 7;
    refused(&pickle(2, &other, b""), "has an array of shape [7, 3] in 6 bytes");
    let mut negative = ARRAY[..at].to_vec();
    negative.extend(b"J\xff\xff\xff\xffK\x03");
    negative.extend(&ARRAY[at + 4..]);
    refused(&pickle(2, &negative, b""), "has an array of extent -1");
}
