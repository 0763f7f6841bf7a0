// Reads archives and documents as the daemons do: archive/tar, encoding/json.
//
// Standard input is a row of items: a byte that says what it is, eight bytes of
// length (big endian), and that many bytes. For each item one line of JSON goes
// to standard output.
//
//	t  a tar
//	f  the path of a tar
//	m  manifest.json
//	i  an image index
//	n  an image manifest
//	c  an image configuration
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Bodies beyond this are listed and not read: a sparse file of a few kilobytes
// states as much as it likes.
const maxBody = 64 << 20

type listing struct {
	Members [][4]interface{} `json:"members"`
	Error   string           `json:"error"`
}

func list(r io.Reader) (l listing) {
	l.Members = [][4]interface{}{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return l
		}
		if err != nil {
			l.Error = err.Error()
			return l
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		size, digest := int64(0), ""
		if h.Typeflag == tar.TypeReg {
			size = h.Size
			if size <= maxBody {
				sum := sha256.New()
				if _, err := io.Copy(sum, t); err != nil {
					l.Error = err.Error()
					return l
				}
				digest = hex.EncodeToString(sum.Sum(nil))
			}
		}
		name := hex.EncodeToString([]byte(h.Name))
		l.Members = append(l.Members, [4]interface{}{name, int(h.Typeflag), size, digest})
	}
}

// The fields that importers act on, with the types containerd's and docker's
// structs give them.

type platform struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	OSVersion    string   `json:"os.version"`
	OSFeatures   []string `json:"os.features"`
	Variant      string   `json:"variant"`
}

type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	Platform     *platform         `json:"platform"`
	ArtifactType string            `json:"artifactType"`
}

type versioned struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Annotations   map[string]string `json:"annotations"`
}

type index struct {
	versioned
	Manifests    []descriptor `json:"manifests"`
	Subject      *descriptor  `json:"subject"`
	ArtifactType string       `json:"artifactType"`
}

type manifest struct {
	versioned
	Config       descriptor   `json:"config"`
	Layers       []descriptor `json:"layers"`
	Subject      *descriptor  `json:"subject"`
	ArtifactType string       `json:"artifactType"`
}

// What a container is run with: the fields of OCI and those of docker.
type run struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Entrypoint   []string
	Cmd          []string
	Volumes      map[string]struct{}
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string
	ArgsEscaped  bool

	Hostname, Domainname, Image, MacAddress    string
	AttachStdin, AttachStdout, AttachStderr    bool
	Tty, OpenStdin, StdinOnce, NetworkDisabled bool
	OnBuild, Shell                             []string
	StopTimeout                                *int
	Healthcheck                                *struct {
		Test                                          []string
		Interval, Timeout, StartPeriod, StartInterval time.Duration
		Retries                                       int
	}
}

type config struct {
	platform
	Created *stamp `json:"created"`
	RootFS  *struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	Config          run    `json:"config"`
	ContainerConfig run    `json:"container_config"`
	Author          string `json:"author"`
	ID              string `json:"id"`
	Parent          string `json:"parent"`
	Comment         string `json:"comment"`
	Container       string `json:"container"`
	DockerVersion   string `json:"docker_version"`
	Size            int64
	History         []struct {
		Created    *stamp `json:"created"`
		Author     string `json:"author"`
		CreatedBy  string `json:"created_by"`
		Comment    string `json:"comment"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// A time that is shown as it was written.
type stamp string

func (s *stamp) UnmarshalJSON(text []byte) error {
	var t time.Time
	if err := t.UnmarshalJSON(text); err != nil {
		return err
	}
	return json.Unmarshal(text, (*string)(s))
}

type item struct {
	Config       string
	RepoTags     []string
	Layers       []string
	Parent       string
	LayerSources map[string]descriptor
}

type document struct {
	Value interface{} `json:"value"`
	Error string      `json:"error"`
}

func read(bytes []byte, into interface{}) document {
	if err := json.Unmarshal(bytes, into); err != nil {
		return document{nil, err.Error()}
	}
	return document{into, ""}
}

func one(kind byte, body []byte) interface{} {
	switch kind {
	case 't':
		return list(bytes.NewReader(body))
	case 'f':
		file, err := os.Open(string(body))
		if err != nil {
			return listing{nil, err.Error()}
		}
		defer file.Close()
		return list(file)
	case 'm':
		return read(body, &[]item{})
	case 'i':
		return read(body, &index{})
	case 'n':
		return read(body, &manifest{})
	case 'c':
		return read(body, &config{})
	}
	panic(fmt.Sprintf("an item of kind %q", kind))
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	lines := json.NewEncoder(out)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err == io.EOF {
			break
		} else if err != nil {
			panic(err)
		}
		body := make([]byte, binary.BigEndian.Uint64(head[1:]))
		if _, err := io.ReadFull(in, body); err != nil {
			panic(err)
		}
		if err := lines.Encode(one(head[0], body)); err != nil {
			panic(err)
		}
	}
	if err := out.Flush(); err != nil {
		panic(err)
	}
}
