// The ledger in the eyes of Go's checksum database: reads a log from standard input, checks its
// checkpoint, proofs and tile names, and answers with a note of its own.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index, Size int64
	Proof       []tlog.Hash
}

type consistency struct {
	From, To int64
	Proof    []tlog.Hash
}

type given struct {
	Key, Secret, Checkpoint string
	Entries                 []string
	Roots                   []tlog.Hash
	Inclusions              []inclusion
	Consistencies           []consistency
	Tiles                   map[string][3]int64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var log given
	if err := json.NewDecoder(os.Stdin).Decode(&log); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(log.Key)
	if err != nil {
		return err
	}
	if _, err := note.Open([]byte(log.Checkpoint), note.VerifierList(verifier)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, place := range places {
			hashes = append(hashes, stored[place])
		}
		return hashes, nil
	})
	for number, entry := range log.Entries {
		hashes, err := tlog.StoredHashes(int64(number), []byte(entry), read)
		if err != nil {
			return err
		}
		stored = append(stored, hashes...)
		root, err := tlog.TreeHash(int64(number)+1, read)
		if err != nil {
			return err
		}
		if root != log.Roots[number+1] {
			return fmt.Errorf("root of %d entries: %v here, %v there", number+1, root, log.Roots[number+1])
		}
	}
	for _, it := range log.Inclusions {
		leaf := tlog.RecordHash([]byte(log.Entries[it.Index]))
		if err := tlog.CheckRecord(it.Proof, it.Size, log.Roots[it.Size], it.Index, leaf); err != nil {
			return fmt.Errorf("entry %d of %d: %w", it.Index, it.Size, err)
		}
	}
	for _, it := range log.Consistencies {
		if err := tlog.CheckTree(it.Proof, it.To, log.Roots[it.To], it.From, log.Roots[it.From]); err != nil {
			return fmt.Errorf("%d to %d: %w", it.From, it.To, err)
		}
	}
	for path, it := range log.Tiles {
		tile := tlog.Tile{H: 8, L: int(it[0]), N: it[1], W: int(it[2])}
		if named := strings.TrimPrefix(tile.Path(), "tile/8/"); named != path {
			return fmt.Errorf("tile %v: %s here, %s there", it, named, path)
		}
	}
	signer, err := note.NewSigner(log.Secret)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: "a text\nof Go's\n"}, signer)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(signed)
	return err
}
