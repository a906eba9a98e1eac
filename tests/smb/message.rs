//! Messages as their specifications lay them out, for conversations of our own making.

/// TID, PID, UID, MID.
pub type Ids = [u16; 4];

pub const IDS: Ids = [8, 9, 10, 64];

/// With its session header.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&length, message].concat()
}

/// SMB1 with one block.
pub fn smb1(command: u8, reply: bool, ids: Ids, words: &[u8], bytes: &[u8]) -> Vec<u8> {
    smb1_with(command, reply, 0, ids, words, bytes)
}

/// The same with a status.
pub fn smb1_with(command: u8, reply: bool, status: u32, ids: Ids, words: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff, b'S', b'M', b'B', command];
    message.extend(status.to_le_bytes());
    message.extend([if reply { 0x98 } else { 0x18 }, 0x07, 0xc0]);
    message.extend([0; 12]);
    message.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    message.push(u8::try_from(words.len() / 2).unwrap());
    message.extend(words);
    message.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
    message.extend(bytes);
    framed(&message)
}

/// A negotiate request of these dialects.
pub fn smb1_negotiate(dialects: &[&str]) -> Vec<u8> {
    let bytes: Vec<u8> = dialects.iter().flat_map(|name| [b"\x02", name.as_bytes(), b"\0"].concat()).collect();
    smb1(0x72, false, IDS, &[], &bytes)
}

/// Its answer.
pub fn smb1_negotiated(index: u16) -> Vec<u8> {
    let mut words = [0; 34];
    words[..2].copy_from_slice(&index.to_le_bytes());
    words[2] = 0x0f;
    smb1(0x72, true, IDS, &words, &[])
}

pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A tree connect, alone.
pub fn smb1_tree(path: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(utf16(path));
    bytes.extend([0, 0]);
    bytes.extend(b"?????\0");
    smb1(0x75, false, IDS, &[0xff, 0, 0, 0, 0, 0, 1, 0], &bytes)
}

/// A session setup with a tree connect chained behind it.
pub fn smb1_setup_and_tree(path: &str) -> Vec<u8> {
    let native = b"Unix\0Samba\0\0";
    let at = u16::try_from(32 + 1 + 26 + 2 + native.len()).unwrap();
    let mut words = [0; 26];
    words[0] = 0x75;
    words[2..4].copy_from_slice(&at.to_le_bytes());
    let mut message = smb1(0x73, false, IDS, &words, native)[4..].to_vec();
    message.extend([4, 0xff, 0, 0, 0, 0, 0, 1, 0]);
    let mut bytes = vec![0];
    if (message.len() + 2 + bytes.len()) % 2 == 1 {
        bytes.push(0);
    }
    bytes.extend(utf16(path));
    bytes.extend([0, 0]);
    message.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
    message.extend(bytes);
    framed(&message)
}

/// Trans (0x25) or Trans2 (0x32), whole or begun: `total` data bytes of which `data` are in it.
pub fn transaction(command: u8, ids: Ids, setup: &[u16], total: u16, data: &[u8]) -> Vec<u8> {
    let offset = u16::try_from(32 + 1 + 28 + 2 * setup.len() + 2).unwrap();
    let mut words = vec![0; 28];
    words[2..4].copy_from_slice(&total.to_le_bytes());
    words[22..24].copy_from_slice(&u16::try_from(data.len()).unwrap().to_le_bytes());
    words[24..26].copy_from_slice(&offset.to_le_bytes());
    words[26] = u8::try_from(setup.len()).unwrap();
    words.extend(setup.iter().flat_map(|word| word.to_le_bytes()));
    smb1(command, false, ids, &words, data)
}

/// A secondary of one of them (0x26, 0x33).
pub fn secondary(command: u8, ids: Ids, total: u16, data: &[u8]) -> Vec<u8> {
    let mut words = vec![0; if command == 0x33 { 18 } else { 16 }];
    words[2..4].copy_from_slice(&total.to_le_bytes());
    words[10..12].copy_from_slice(&u16::try_from(data.len()).unwrap().to_le_bytes());
    words[12..14].copy_from_slice(&56_u16.to_le_bytes());
    smb1(command, false, ids, &words, data)
}

/// NT Transact (0xa0): `total` data bytes of which `data` are in it.
pub fn nt_transact(ids: Ids, function: u16, total: u32, data: &[u8]) -> Vec<u8> {
    let mut words = vec![0; 40];
    words[7..11].copy_from_slice(&total.to_le_bytes());
    words[27..31].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    words[31..35].copy_from_slice(&76_u32.to_le_bytes());
    words[35] = 1;
    words[36..38].copy_from_slice(&function.to_le_bytes());
    smb1(0xa0, false, ids, &words, data)
}

/// Its secondary (0xa1).
pub fn nt_secondary(ids: Ids, total: u32, data: &[u8]) -> Vec<u8> {
    let mut words = vec![0; 36];
    words[7..11].copy_from_slice(&total.to_le_bytes());
    words[23..27].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    words[27..31].copy_from_slice(&72_u32.to_le_bytes());
    smb1(0xa1, false, ids, &words, data)
}

/// Write AndX to a pipe or file.
pub fn write_andx(ids: Ids, fid: u16, mode: u16, data: &[u8]) -> Vec<u8> {
    let mut words = vec![0; 28];
    words[0] = 0xff;
    words[4..6].copy_from_slice(&fid.to_le_bytes());
    words[14..16].copy_from_slice(&mode.to_le_bytes());
    words[20..22].copy_from_slice(&u16::try_from(data.len()).unwrap().to_le_bytes());
    words[22..24].copy_from_slice(&63_u16.to_le_bytes());
    smb1(0x2f, false, ids, &words, data)
}

/// The answer to an NT create that gives out `fid`.
pub fn nt_created(ids: Ids, fid: u16) -> Vec<u8> {
    let mut words = [0; 68];
    words[0] = 0xff;
    words[5..7].copy_from_slice(&fid.to_le_bytes());
    smb1(0xa2, true, ids, &words, &[])
}

/// One SMB2 command, unframed, padded to eight bytes; `chained` says that another follows.
pub fn smb2_part(command: u16, response: bool, message: u64, tree: u32, body: &[u8], chained: bool) -> Vec<u8> {
    let mut part = vec![0; 64];
    part[..6].copy_from_slice(&[0xfe, b'S', b'M', b'B', 64, 0]);
    part[12..14].copy_from_slice(&command.to_le_bytes());
    part[16] = u8::from(response);
    part[24..32].copy_from_slice(&message.to_le_bytes());
    part[36..40].copy_from_slice(&tree.to_le_bytes());
    part.extend(body);
    if chained {
        part.resize(part.len().next_multiple_of(8), 0);
        let next = u32::try_from(part.len()).unwrap();
        part[20..24].copy_from_slice(&next.to_le_bytes());
    }
    part
}

/// One SMB2 command.
pub fn smb2(command: u16, response: bool, message: u64, tree: u32, body: &[u8]) -> Vec<u8> {
    framed(&smb2_part(command, response, message, tree, body, false))
}

pub fn smb2_tree_body(path: &str) -> Vec<u8> {
    let path = utf16(path);
    let length = u16::try_from(path.len()).unwrap().to_le_bytes();
    [&[9, 0, 0, 0, 72, 0], &length[..], &path].concat()
}

/// The answer to a tree connect; kind 1 is a disk, 2 pipes.
pub fn smb2_tree_answer(message: u64, tree: u32, kind: u8) -> Vec<u8> {
    smb2(3, true, message, tree, &[16, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

pub fn smb2_write_body(handle: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 48];
    body[0] = 49;
    body[2] = 112;
    body[4..8].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    body[16..24].copy_from_slice(&handle.to_le_bytes());
    body[24..32].copy_from_slice(&(handle + 1).to_le_bytes());
    body.extend(data);
    body
}

pub fn smb2_transceive_body(handle: u64, data: &[u8]) -> Vec<u8> {
    let mut body = vec![0; 56];
    body[0] = 57;
    body[4..8].copy_from_slice(&0x0011_c017_u32.to_le_bytes());
    body[8..16].copy_from_slice(&handle.to_le_bytes());
    body[16..24].copy_from_slice(&(handle + 1).to_le_bytes());
    body[24..28].copy_from_slice(&120_u32.to_le_bytes());
    body[28..32].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    body.extend(data);
    body
}

/// An SMB2 negotiate answer of dialect 3.1.1 with contexts for encryption and, if asked, compression.
pub fn smb311_negotiated(compression: bool) -> Vec<u8> {
    let mut body = vec![0; 64];
    body[0] = 65;
    body[2] = 3;
    body[4..6].copy_from_slice(&0x0311_u16.to_le_bytes());
    body[6] = 2;
    body[60..64].copy_from_slice(&128_u32.to_le_bytes());
    body.extend([2, 0, 4, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([3, 0, 10, 0, 0, 0, 0, 0, u8::from(compression), 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    smb2(0, true, 0, 0, &body)
}

/// A compression header and some bytes behind it.
pub fn compressed(size: u32, flags: u16, offset: u32) -> Vec<u8> {
    let mut message = vec![0xfc, b'S', b'M', b'B'];
    message.extend(size.to_le_bytes());
    message.extend([1, 0]);
    message.extend(flags.to_le_bytes());
    message.extend(offset.to_le_bytes());
    message.extend([0x61; 80]);
    framed(&message)
}

/// EternalBlue's groom.
pub fn groom() -> Vec<u8> {
    let mut bytes = vec![0x00, 0x00, 0xff, 0xf7, 0xfe, b'S', b'M', b'B'];
    bytes.extend([0; 124]);
    bytes
}

pub const SVCCTL: [u8; 16] = [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0, 0x10, 3];
pub const SRVSVC: [u8; 16] =
    [0xc8, 0x4f, 0x32, 0x4b, 0x70, 0x16, 0xd3, 1, 0x12, 0x78, 0x5a, 0x47, 0xbf, 0x6e, 0xe1, 0x88];
pub const TASKS: [u8; 16] =
    [0x49, 0x59, 0xd3, 0x86, 0xc9, 0x83, 0x44, 0x40, 0xb4, 0x24, 0xdb, 0x36, 0x32, 0x31, 0xfd, 0x0c];
pub const WMI: [u8; 16] = [0x99, 0xdc, 0x56, 0x95, 0x8c, 0x82, 0xcf, 0x11, 0xa3, 0x7e, 0, 0xaa, 0, 0x32, 0x40, 0xc7];
pub const AT: [u8; 16] =
    [0x82, 0x06, 0xf7, 0x1f, 0x51, 0x0a, 0xe8, 0x30, 0x07, 0x6d, 0x74, 0x0b, 0xe8, 0xce, 0xe9, 0x8b];

/// A DCE/RPC PDU.
pub fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut data = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
    data.extend(u16::try_from(16 + body.len()).unwrap().to_le_bytes());
    data.extend([0, 0, 1, 0, 0, 0]);
    data.extend(body);
    data
}

/// A bind (11) or alter context (14) of these contexts.
pub fn bind(kind: u8, contexts: &[(u16, [u8; 16])]) -> Vec<u8> {
    let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, u8::try_from(contexts.len()).unwrap(), 0, 0, 0];
    for (id, interface) in contexts {
        body.extend(id.to_le_bytes());
        body.extend([1, 0]);
        body.extend(interface);
        body.extend([2, 0, 0, 0]);
        body.extend([
            0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60, 2, 0, 0, 0,
        ]);
    }
    pdu(kind, &body)
}

/// A request on a context.
pub fn request(context: u16, opnum: u16, stub: usize) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(context.to_le_bytes());
    body.extend(opnum.to_le_bytes());
    body.extend(vec![0x55; stub]);
    pdu(0, &body)
}

/// An answer of the endpoint mapper that names a port.
pub fn mapped(port: u16) -> Vec<u8> {
    let mut body = vec![0; 8 + 60];
    body.extend([1, 0, 7, 2, 0]);
    body.extend(port.to_be_bytes());
    body.extend([1, 0, 9, 4, 0, 10, 0, 0, 2, 0, 0, 0]);
    pdu(2, &body)
}

/// An answer to a DCOM activation that names a port in a string binding, far behind its start.
pub fn activated(port: u16) -> Vec<u8> {
    let mut body = vec![0; 8 + 700];
    body.extend(utf16(&format!("10.0.0.2[{port}]")));
    body.extend([0; 40]);
    pdu(2, &body)
}
