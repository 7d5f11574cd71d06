//! The tree, its frontier and its proofs.

use airboss_ledger::{
    Frontier, Hash, ProofError, Tiles, consistency_tiles, inclusion_tiles, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

use crate::make::{leaves, log, root_by_definition};

#[test]
fn the_hashes_are_those_of_rfc_6962() {
    let hex = |hash: Hash| -> String { hash.0.iter().map(|byte| format!("{byte:02x}")).collect() };
    assert_eq!(
        hex(Hash::empty()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        hex(Hash::leaf(b"")),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
}

#[test]
fn the_frontier_has_the_root_of_the_definition_at_every_size() {
    let leaves = leaves(300);
    let mut frontier = Frontier::default();
    for size in 0..=leaves.len() {
        assert_eq!(frontier.size(), size as u64);
        assert_eq!(
            frontier.root(),
            root_by_definition(&leaves[..size]),
            "{size}"
        );
        let kept = Frontier::from_bytes(frontier.size(), &frontier.to_bytes());
        assert_eq!(kept.as_ref(), Ok(&frontier));
        if let Some(leaf) = leaves.get(size) {
            frontier.append(*leaf, |_, _, _| {});
        }
    }
}

#[test]
fn a_frontier_of_another_size_is_refused() {
    let bytes = [0; 64];
    assert!(Frontier::from_bytes(3, &bytes).is_ok());
    assert!(Frontier::from_bytes(4, &bytes).is_err());
    assert!(Frontier::from_bytes(3, &bytes[1..]).is_err());
}

#[test]
fn every_entry_and_every_growth_of_small_trees_is_proved() {
    let leaves = leaves(67);
    let root = |size: u64| root_by_definition(&leaves[..size as usize]);
    for size in 1..=67 {
        let tiles = log(&leaves[..size as usize], &[size]).tiles;
        for index in 0..size {
            let proof = prove_inclusion(&tiles, index, size).unwrap();
            let leaf = leaves[index as usize];
            assert_eq!(
                verify_inclusion(&proof, index, leaf, size, root(size)),
                Ok(())
            );
        }
        for from in 0..=size {
            let proof = prove_consistency(&tiles, from, size).unwrap();
            let checked = verify_consistency(&proof, from, root(from), size, root(size));
            assert_eq!(checked, Ok(()), "{from} to {size}");
        }
    }
}

#[test]
fn nothing_is_proved_about_what_is_not_there() {
    let tiles = log(&leaves(5), &[5]).tiles;
    assert_eq!(
        prove_inclusion(&tiles, 5, 5),
        Err(ProofError::NoEntry { index: 5, size: 5 })
    );
    assert_eq!(
        prove_consistency(&tiles, 6, 5),
        Err(ProofError::Shrunk { from: 6, to: 5 })
    );
    assert!(matches!(
        prove_inclusion(&tiles, 3, 600),
        Err(ProofError::Tile(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Several levels of tiles, any entry, any growth; and each flipped bit is noticed.
    #[test]
    fn a_proof_holds_and_none_holds_with_a_flipped_bit(
        size in 1_u64..3_000,
        index in any::<u64>(),
        from in any::<u64>(),
        place in any::<prop::sample::Index>(),
        bit in 0_usize..256,
    ) {
        let (index, from) = (index % size, from % size + 1);
        let leaves = leaves(size);
        let log = log(&leaves, &[size]);
        let root = log.frontier.root();
        let (leaf, old) = (leaves[index as usize], root_by_definition(&leaves[..from as usize]));
        let flip = |hash: &mut Hash| hash.0[bit / 8] ^= 1 << (bit % 8);

        let wanted = inclusion_tiles(index, size).unwrap();
        prop_assert!(wanted.len() <= 2 * 3, "few tiles are read: {wanted:?}");
        let tiles: Tiles = wanted.into_iter().map(|tile| (tile, log.tiles[&tile].clone())).collect();
        let mut proof = prove_inclusion(&tiles, index, size).unwrap();
        prop_assert_eq!(verify_inclusion(&proof, index, leaf, size, root), Ok(()));
        let mut other = leaf;
        flip(&mut other);
        prop_assert_eq!(
            verify_inclusion(&proof, index, other, size, root),
            Err(ProofError::WrongEntry { index, size })
        );
        if !proof.is_empty() {
            let place = place.index(proof.len());
            flip(&mut proof[place]);
            prop_assert!(verify_inclusion(&proof, index, leaf, size, root).is_err());
            flip(&mut proof[place]);
            proof.remove(place);
            prop_assert!(verify_inclusion(&proof, index, leaf, size, root).is_err());
        }

        let wanted = consistency_tiles(from, size).unwrap();
        let tiles: Tiles = wanted.into_iter().map(|tile| (tile, log.tiles[&tile].clone())).collect();
        let mut proof = prove_consistency(&tiles, from, size).unwrap();
        prop_assert_eq!(verify_consistency(&proof, from, old, size, root), Ok(()));
        let mut other = old;
        flip(&mut other);
        prop_assert!(verify_consistency(&proof, from, other, size, root).is_err());
        if !proof.is_empty() {
            let place = place.index(proof.len());
            flip(&mut proof[place]);
            prop_assert!(verify_consistency(&proof, from, old, size, root).is_err());
        }
    }
}
