// Posts files over TLS. usage: post one|parallel URL CA_PEM BODY_FILE...
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(mode, url, caPem string, files []string) error {
	pem, err := os.ReadFile(caPem)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	if mode == "one" {
		for _, file := range files {
			if err := post(client, url, file); err != nil {
				return err
			}
		}
		return nil
	}
	errors := make([]error, len(files))
	var group sync.WaitGroup
	for index, file := range files {
		group.Add(1)
		go func(index int, file string) {
			defer group.Done()
			errors[index] = post(client, url, file)
		}(index, file)
	}
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

func post(client *http.Client, url, file string) error {
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	answer, err := client.Post(url+"/v1/messages", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}
