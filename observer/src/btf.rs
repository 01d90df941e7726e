//! The running kernel's own description of its types (BTF), for the offsets of structure members and the names of drop
//! reasons. Format: Documentation/bpf/btf.rst.
//!
//! aya reads BTF too, but keeps members and enum values to itself; the other crates for it are under the LGPL or link to C.

mod drop_reasons;

use std::fs;
use std::io;

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
const MODULES_BTF: &str = "/sys/kernel/btf";

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// A type refers to at most this many others in a row (typedefs, anonymous members) before we give up on it.
const MAX_DEPTH: u32 = 16;

/// At most this many members are looked at for one name. `sk_buff` has about a hundred; damaged types that contain
/// themselves would never end.
const MAX_MEMBERS: u32 = 100_000;

/// Why the kernel's types can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel has none, or it can't be read.
    #[error("cannot read {KERNEL_BTF}: {0}; the kernel must be built with CONFIG_DEBUG_INFO_BTF=y")]
    Unreadable(io::Error),
    /// It isn't BTF, or it is cut off.
    #[error("the kernel's BTF is damaged at byte {0}")]
    Damaged(usize),
    /// The kernel has no such structure or enumeration.
    #[error("the kernel's BTF has no type `{0}`; this kernel is of a version that Parallax doesn't know")]
    NoType(String),
    /// The structure has no such member.
    #[error("the kernel's `{0}` has no member `{1}`; this kernel is of a version that Parallax doesn't know")]
    NoMember(String, String),
}

/// The types of a kernel.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    strings_len: u32,
    /// The first offset of a string of its own: 0, but a module's offsets go on where those of the kernel end.
    first_string: u32,
    /// Where each type starts in `data`; the first one is number 1.
    types: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    members: usize,
    flag: bool,
    size_or_type: u32,
}

impl Btf {
    /// The types of the running kernel.
    ///
    /// # Errors
    /// If the kernel doesn't have them, or they can't be read.
    pub fn from_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(KERNEL_BTF).map_err(BtfError::Unreadable)?)
    }

    /// Types from the bytes of a BTF section in this machine's byte order.
    ///
    /// # Errors
    /// If they are not whole.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let mut btf = Self {
            data,
            strings: 0,
            strings_len: 0,
            first_string: 0,
            types: Vec::new(),
        };
        let magic = btf.u32_at(0)? as u16;
        if magic != MAGIC {
            return Err(BtfError::Damaged(0));
        }
        let header = btf.u32_at(4)? as usize;
        let (types, types_len) = (btf.u32_at(8)? as usize, btf.u32_at(12)? as usize);
        let (strings, strings_len) = (btf.u32_at(16)? as usize, btf.u32_at(20)? as usize);
        let end = |start: usize, len: usize| header.checked_add(start).and_then(|sum| sum.checked_add(len));
        let types_end = end(types, types_len)
            .filter(|end| *end <= btf.data.len())
            .ok_or(BtfError::Damaged(8))?;
        end(strings, strings_len)
            .filter(|end| *end <= btf.data.len())
            .ok_or(BtfError::Damaged(16))?;
        btf.strings = header + strings;
        btf.strings_len = u32::try_from(strings_len).map_err(|_| BtfError::Damaged(20))?;
        let mut at = header + types;
        while at < types_end {
            btf.types.push(u32::try_from(at).map_err(|_| BtfError::Damaged(at))?);
            let declared = btf.type_at(at)?;
            at += 12 + trailing_bytes(declared.kind, declared.members);
        }
        Ok(btf)
    }

    /// The types of a module, in the terms of its own: its references to types and texts of the kernel lead nowhere.
    fn parse_module(&self, data: Vec<u8>) -> Result<Self, BtfError> {
        let mut module = Self::parse(data)?;
        module.first_string = self.strings_len;
        Ok(module)
    }

    /// The types of a module that is loaded and has some.
    fn module(&self, name: &str) -> Option<Self> {
        self.parse_module(fs::read(format!("{MODULES_BTF}/{name}")).ok()?).ok()
    }

    fn u32_at(&self, at: usize) -> Result<u32, BtfError> {
        let bytes = self.data.get(at..at + 4).ok_or(BtfError::Damaged(at))?;
        Ok(u32::from_ne_bytes(
            bytes.try_into().expect("invariant: a slice of four bytes"),
        ))
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = self.u32_at(at + 4)?;
        Ok(Type {
            at,
            name: self.u32_at(at)?,
            kind: info >> 24 & 0x1f,
            members: (info & 0xffff) as usize,
            flag: info >> 31 != 0,
            size_or_type: self.u32_at(at + 8)?,
        })
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        self.type_at(at as usize).ok()
    }

    fn string(&self, offset: u32) -> &[u8] {
        let own = offset
            .checked_sub(self.first_string)
            .map(|own| self.strings + own as usize);
        let rest = own.and_then(|start| self.data.get(start..)).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        &rest[..end]
    }

    fn named(&self, name: &str, kinds: &[u32]) -> Option<Type> {
        self.types
            .iter()
            .filter_map(|at| self.type_at(*at as usize).ok())
            .find(|candidate| {
                kinds.contains(&candidate.kind)
                    && candidate.members > 0
                    && self.string(candidate.name) == name.as_bytes()
            })
    }

    /// Where a member is in a structure, in bytes. `path` goes into structures by dots (`nd_net.net`); members of
    /// anonymous structures and unions count as members of what contains them.
    ///
    /// # Errors
    /// If the kernel has no such structure or member.
    pub fn member_offset(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut current = self
            .named(structure, &[KIND_STRUCT])
            .ok_or_else(|| BtfError::NoType(structure.to_owned()))?;
        let no_member = || BtfError::NoMember(structure.to_owned(), path.to_owned());
        let mut bits = 0_u32;
        let mut budget = MAX_MEMBERS;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let (offset, member_type) = self.member(current, part, 0, &mut budget).ok_or_else(no_member)?;
            bits = bits.checked_add(offset).ok_or_else(no_member)?;
            if parts.peek().is_some() {
                current = self.resolve(member_type).ok_or_else(no_member)?;
            }
        }
        Ok(bits / 8)
    }

    /// Offset in bits and type of a member.
    fn member(&self, structure: Type, name: &str, depth: u32, budget: &mut u32) -> Option<(u32, u32)> {
        if depth > MAX_DEPTH || !matches!(structure.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..structure.members).find_map(|index| {
            *budget = budget.checked_sub(1)?;
            let at = structure.at + 12 + index * 12;
            let member_name = self.string(self.u32_at(at).ok()?);
            let member_type = self.u32_at(at + 4).ok()?;
            let offset = self.u32_at(at + 8).ok()?;
            // With the flag set the upper 8 bits are the size of a bit field.
            let offset = if structure.flag { offset & 0x00ff_ffff } else { offset };
            if member_name == name.as_bytes() {
                return Some((offset, member_type));
            }
            if !member_name.is_empty() {
                return None;
            }
            let (inner, inner_type) = self.member(self.resolve(member_type)?, name, depth + 1, budget)?;
            Some((offset.checked_add(inner)?, inner_type))
        })
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let found = self.type_by_id(id)?;
            match found.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = found.size_or_type,
                _ => return Some(found),
            }
        }
        None
    }

    /// Names and values of an enumeration.
    ///
    /// # Errors
    /// If the kernel has no such enumeration.
    pub fn enum_values(&self, name: &str) -> Result<Vec<(String, u64)>, BtfError> {
        let found = self
            .named(name, &[KIND_ENUM, KIND_ENUM64])
            .ok_or_else(|| BtfError::NoType(format!("enum {name}")))?;
        let width = if found.kind == KIND_ENUM64 { 12 } else { 8 };
        (0..found.members)
            .map(|index| {
                let at = found.at + 12 + index * width;
                let name = String::from_utf8_lossy(self.string(self.u32_at(at)?)).into_owned();
                let mut value = u64::from(self.u32_at(at + 4)?);
                if found.kind == KIND_ENUM64 {
                    value |= u64::from(self.u32_at(at + 8)?) << 32;
                }
                Ok((name, value))
            })
            .collect()
    }
}

fn trailing_bytes(kind: u32, members: usize) -> usize {
    match kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => members * 12,
        KIND_ENUM | KIND_FUNC_PROTO => members * 8,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_kernel_is_read() {
        let btf = match Btf::from_kernel() {
            Ok(btf) => btf,
            Err(BtfError::Unreadable(error)) => return println!("skipped: the kernel has no BTF: {error}"),
            Err(error) => panic!("{error}"),
        };
        assert!(btf.member_offset("sk_buff", "network_header").unwrap() > 0);
        assert_eq!(btf.member_offset("sk_buff", "next").unwrap(), 0);
        assert!(btf.member_offset("net_device", "nd_net.net").unwrap() > 0);
        assert!(matches!(
            btf.member_offset("sk_buff", "nonsense"),
            Err(BtfError::NoMember(..))
        ));
        assert!(matches!(btf.member_offset("nonsense", "x"), Err(BtfError::NoType(_))));
    }

    /// BTF of these types (each a list of 32-bit words) and texts.
    pub(super) fn bytes(types: &[Vec<u32>], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
        let magic = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        let lengths = [24, 0, types_len, types_len, strings_len]
            .map(u32::to_ne_bytes)
            .concat();
        [magic, lengths, types, strings.to_vec()].concat()
    }

    fn info(kind: u32, members: u32) -> u32 {
        kind << 24 | members
    }

    #[test]
    fn members_are_found_through_anonymous_structures_and_typedefs() {
        let types = [
            vec![9, info(KIND_INT, 0), 4, 32],
            // struct outer { int; inner_t at 8 bytes, without a name }
            vec![1, info(KIND_STRUCT, 2), 16, 9, 1, 0, 0, 3, 64],
            vec![0, info(KIND_TYPEDEF, 0), 4],
            vec![0, info(KIND_UNION, 1), 8, 13, 2, 32],
        ];
        let btf = Btf::parse(bytes(&types, b"\0sk_buff\0int\0head\0")).unwrap();
        assert_eq!(btf.member_offset("sk_buff", "int").unwrap(), 0);
        assert_eq!(btf.member_offset("sk_buff", "head").unwrap(), 12);
        assert_eq!(btf.member_offset("sk_buff", "head.int").unwrap(), 12);
        assert_eq!(btf.member_offset("sk_buff", "head.head").unwrap(), 24);
        assert!(btf.member_offset("sk_buff", "int.head").is_err());
        assert!(matches!(
            Btf::parse(bytes(&types, b"")[..60].to_vec()),
            Err(BtfError::Damaged(_))
        ));
    }

    #[test]
    fn a_structure_that_contains_itself_ends() {
        let strings = b"\0sk_buff\0head\0";
        // Ten members without a name, each of which is the structure again: 10^16 places to look at.
        let mut nested = vec![1, info(KIND_STRUCT, 10), 8];
        nested.extend([0, 1, 0].repeat(10));
        assert!(
            Btf::parse(bytes(&[nested], strings))
                .unwrap()
                .member_offset("sk_buff", "head")
                .is_err()
        );
        let far = vec![1, info(KIND_STRUCT, 1), 8, 9, 1, u32::MAX - 7];
        let far = Btf::parse(bytes(&[far], strings)).unwrap();
        assert_eq!(far.member_offset("sk_buff", "head").unwrap(), (u32::MAX - 7) / 8);
        assert!(far.member_offset("sk_buff", "head.head").is_err());
    }

    /// Mostly structures called `sk_buff` with members `head`, of each other and of themselves, anywhere.
    fn any_types() -> impl Strategy<Value = Vec<Vec<u32>>> {
        let name = || prop_oneof![Just(0_u32), Just(1), Just(9), 0..15_u32];
        let kind = prop_oneof![Just(KIND_STRUCT), Just(KIND_UNION), Just(KIND_TYPEDEF), 1..20_u32];
        let member = (name(), 0..8_u32, prop_oneof![0..1000_u32, any::<u32>()]);
        let aggregate = (
            name(),
            kind,
            any::<bool>(),
            0..8_u32,
            prop::collection::vec(member, 0..12),
        );
        let with_members = aggregate.prop_map(|(name, kind, flag, size_or_type, members)| {
            let info = info(kind, members.len() as u32) | u32::from(flag) << 31;
            let members = members.into_iter().flat_map(|(name, of, offset)| [name, of, offset]);
            [name, info, size_or_type].into_iter().chain(members).collect()
        });
        prop::collection::vec(with_members, 0..8)
    }

    proptest! {
        #[test]
        fn any_types_are_read_or_refused(types in any_types(), cut in 0..400_usize) {
            let mut bytes = bytes(&types, b"\0sk_buff\0head\0");
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(200)));
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.member_offset("sk_buff", "head.head");
                let _ = btf.enum_values("sk_buff");
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 2..200)) {
            bytes[..2].copy_from_slice(&MAGIC.to_ne_bytes());
            if let Ok(btf) = Btf::parse(bytes) {
                prop_assert!(btf.member_offset("sk_buff", "head").is_err());
            }
        }
    }
}
