// Checks logs made by tlog_emit with golang.org/x/mod/sumdb: note opens the signed checkpoints, tlog computes the roots
// from the leaves and checks the proofs. Every log is then tampered with, and each tampering must be refused.
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type log struct {
	Origin      string   `json:"origin"`
	Note        string   `json:"note"`
	VerifierKey string   `json:"verifier_key"`
	Leaves      []string `json:"leaves"`
	Inclusion   []struct {
		Index int64       `json:"index"`
		Proof []tlog.Hash `json:"proof"`
	} `json:"inclusion"`
	Consistency []struct {
		From  int64       `json:"from"`
		Proof []tlog.Hash `json:"proof"`
	} `json:"consistency"`
}

var counts struct{ notes, roots, inclusion, consistency, refused int }

// A C2SP tlog-checkpoint body: origin, size, root. (tlog.ParseTree reads only the go.sum database's own origin.)
func parseCheckpoint(text, origin string) (tlog.Tree, error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) < 4 || lines[0] != origin {
		return tlog.Tree{}, errors.New("not a checkpoint of " + origin)
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || lines[1] != strconv.FormatInt(n, 10) {
		return tlog.Tree{}, errors.New("bad size " + lines[1])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, errors.New("bad root " + lines[2])
	}
	tree := tlog.Tree{N: n}
	copy(tree.Hash[:], root)
	return tree, nil
}

func openCheckpoint(l log, text string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(l.VerifierKey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	return parseCheckpoint(opened.Text, l.Origin)
}

// Every root of the log, from its leaves alone: roots[n] is that of the first n.
func rootsOf(leaves [][]byte) ([]tlog.Hash, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			out[i] = stored[index]
		}
		return out, nil
	})
	roots := make([]tlog.Hash, len(leaves)+1)
	for i, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(i), leaf, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, hashes...)
		if roots[i+1], err = tlog.TreeHash(int64(i+1), reader); err != nil {
			return nil, err
		}
	}
	return roots, nil
}

func mustRefuse(what string, err error) error {
	if err == nil {
		return errors.New("accepted: " + what)
	}
	counts.refused++
	return nil
}

func flipped(hash tlog.Hash) tlog.Hash {
	hash[5] ^= 0x10
	return hash
}

func checkNotes(l log, root tlog.Hash) (tlog.Tree, error) {
	tree, err := openCheckpoint(l, l.Note)
	if err != nil {
		return tree, err
	}
	counts.notes++
	if tree.N != int64(len(l.Leaves)) || tree.Hash != root {
		return tree, fmt.Errorf("checkpoint says %d %v, the leaves say %d %v", tree.N, tree.Hash, len(l.Leaves), root)
	}
	counts.roots++
	// All of the text and our signature line; a witness's line may stand behind them. The last two characters are left
	// alone: padding, and a digit whose unused bits Go's base64 does not look at.
	ours := strings.Index(l.Note, "\n\n") + 2
	ours += strings.Index(l.Note[ours:], "\n") - 2
	for i := 0; i < ours; i++ {
		altered := []byte(l.Note)
		altered[i] ^= 1
		_, err := openCheckpoint(l, string(altered))
		if err := mustRefuse(fmt.Sprintf("checkpoint with byte %d changed", i), err); err != nil {
			return tree, err
		}
	}
	return tree, nil
}

func checkInclusion(l log, tree tlog.Tree, leaves [][]byte) error {
	if len(l.Inclusion) != len(leaves) {
		return errors.New("not an inclusion proof for every leaf")
	}
	for _, p := range l.Inclusion {
		leaf := tlog.RecordHash(leaves[p.Index])
		if err := tlog.CheckRecord(p.Proof, tree.N, tree.Hash, p.Index, leaf); err != nil {
			return fmt.Errorf("leaf %d: %v", p.Index, err)
		}
		counts.inclusion++
		what := fmt.Sprintf("leaf %d of %d with its ", p.Index, tree.N)
		if err := mustRefuse(what+"content changed", tlog.CheckRecord(p.Proof, tree.N, tree.Hash, p.Index, flipped(leaf))); err != nil {
			return err
		}
		if err := mustRefuse(what+"root changed", tlog.CheckRecord(p.Proof, tree.N, flipped(tree.Hash), p.Index, leaf)); err != nil {
			return err
		}
		if tree.N > 1 {
			other := (p.Index + 1) % tree.N
			if err := mustRefuse(what+"place changed", tlog.CheckRecord(p.Proof, tree.N, tree.Hash, other, leaf)); err != nil {
				return err
			}
		}
		for i := range p.Proof {
			altered := append(tlog.RecordProof(nil), p.Proof...)
			altered[i] = flipped(altered[i])
			if err := mustRefuse(what+"proof changed", tlog.CheckRecord(altered, tree.N, tree.Hash, p.Index, leaf)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkConsistency(l log, tree tlog.Tree, roots []tlog.Hash) error {
	if len(l.Consistency) != len(l.Leaves) {
		return errors.New("not a consistency proof from every size")
	}
	for _, p := range l.Consistency {
		if err := tlog.CheckTree(p.Proof, tree.N, tree.Hash, p.From, roots[p.From]); err != nil {
			return fmt.Errorf("%d in %d: %v", p.From, tree.N, err)
		}
		counts.consistency++
		what := fmt.Sprintf("%d in %d with its ", p.From, tree.N)
		if err := mustRefuse(what+"old root changed", tlog.CheckTree(p.Proof, tree.N, tree.Hash, p.From, flipped(roots[p.From]))); err != nil {
			return err
		}
		if err := mustRefuse(what+"new root changed", tlog.CheckTree(p.Proof, tree.N, flipped(tree.Hash), p.From, roots[p.From])); err != nil {
			return err
		}
		for i := range p.Proof {
			altered := append(tlog.TreeProof(nil), p.Proof...)
			altered[i] = flipped(altered[i])
			if err := mustRefuse(what+"proof changed", tlog.CheckTree(altered, tree.N, tree.Hash, p.From, roots[p.From])); err != nil {
				return err
			}
		}
	}
	return nil
}

func check(l log) error {
	var leaves [][]byte
	for _, text := range l.Leaves {
		leaf, err := hex.DecodeString(text)
		if err != nil {
			return err
		}
		leaves = append(leaves, leaf)
	}
	roots, err := rootsOf(leaves)
	if err != nil {
		return err
	}
	tree, err := checkNotes(l, roots[len(leaves)])
	if err != nil {
		return err
	}
	if err := checkInclusion(l, tree, leaves); err != nil {
		return err
	}
	return checkConsistency(l, tree, roots)
}

func main() {
	var logs []log
	if err := json.NewDecoder(os.Stdin).Decode(&logs); err != nil {
		fmt.Fprintln(os.Stderr, "read logs:", err)
		os.Exit(2)
	}
	for _, l := range logs {
		if err := check(l); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", l.Origin, err)
			os.Exit(1)
		}
	}
	fmt.Printf("%d notes, %d roots, %d inclusion and %d consistency proofs hold; %d tamperings refused\n",
		counts.notes, counts.roots, counts.inclusion, counts.consistency, counts.refused)
	if len(logs) == 0 || counts.refused == 0 {
		os.Exit(1)
	}
}
