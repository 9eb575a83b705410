// net/http and pgx, tuned: prepared statements, stamps that PostgreSQL writes out, verified tokens remembered, no log.
package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const (
	maxConnections = 10
	maxBodyBytes   = 1024 * 1024
	maxRemembered  = 10_000
	leewaySeconds  = 30

	columns = `id, uid::text, user_id, title, description, completed,
		to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS completed_at,
		list_id, parent_id, position, to_char(start_date, 'YYYY-MM-DD') AS start_date,
		to_char(due_date, 'YYYY-MM-DD') AS due_date, to_char(due_time::interval, 'HH24:MI') AS due_time, time_zone,
		to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS due_at,
		priority, labels, estimate_minutes, extra,
		to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
		to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at`
	listTasks   = `SELECT ` + columns + ` FROM tasks WHERE user_id = $1 ORDER BY tasks.created_at DESC, tasks.id DESC`
	getTask     = `SELECT ` + columns + ` FROM tasks WHERE user_id = $1 AND id = $2`
	createTask  = `INSERT INTO tasks (user_id, title, description) VALUES ($1, $2, $3) RETURNING ` + columns
	replaceTask = `UPDATE tasks SET title = $3, description = $4 WHERE user_id = $1 AND id = $2 RETURNING ` + columns
	toggled     = `completed = NOT completed, completed_at = CASE WHEN NOT completed THEN now() END`
	toggleTask  = `UPDATE tasks SET ` + toggled + ` WHERE user_id = $1 AND id = $2 RETURNING ` + columns
)

var (
	origin       = os.Getenv("FRONTEND_URL")
	secret       = []byte(os.Getenv("JWT_SECRET"))
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	pool         *pgxpool.Pool
)

// Task is a row, in the order in which the statements select its columns.
type Task struct {
	ID              int64           `json:"id"`
	UID             string          `json:"uid"`
	UserID          string          `json:"user_id"`
	Title           string          `json:"title"`
	Description     *string         `json:"description"`
	Completed       bool            `json:"completed"`
	CompletedAt     *string         `json:"completed_at"`
	ListID          *int64          `json:"list_id"`
	ParentID        *int64          `json:"parent_id"`
	Position        string          `json:"position"`
	StartDate       *string         `json:"start_date"`
	DueDate         *string         `json:"due_date"`
	DueTime         *string         `json:"due_time"`
	TimeZone        *string         `json:"time_zone"`
	DueAt           *string         `json:"due_at"`
	Priority        int16           `json:"priority"`
	Labels          json.RawMessage `json:"labels"`
	EstimateMinutes *int16          `json:"estimate_minutes"`
	Extra           json.RawMessage `json:"extra"`
	CreatedAt       string          `json:"created_at"`
	UpdatedAt       string          `json:"updated_at"`
}

// Content is what a client says about a task.
type Content struct {
	Title       *string `json:"title"`
	Description *string `json:"description"`
}

// Failure is a refusal: its status, its code, and a sentence for people.
type Failure struct {
	status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (failure *Failure) Error() string { return failure.Message }

// Data is the envelope of a success.
type Data struct {
	Data any `json:"data"`
}

// Error is the envelope of a failure.
type Error struct {
	Error *Failure `json:"error"`
}

var (
	badRequest   = &Failure{400, "BAD_REQUEST", "The body is not JSON in UTF-8."}
	unauthorized = &Failure{401, "UNAUTHORIZED", "This needs a valid bearer token."}
	notFound     = &Failure{404, "NOT_FOUND", "There is no such task."}
	notAllowed   = &Failure{405, "METHOD_NOT_ALLOWED", "This path has no such method."}
	tooLarge     = &Failure{413, "PAYLOAD_TOO_LARGE", "The body is larger than 1 MiB."}
	badID        = &Failure{422, "VALIDATION_ERROR", "The id must be an integer in its plain spelling."}
	badContent   = &Failure{422, "VALIDATION_ERROR", "A title has 1 to 500 characters, none of them U+0000."}
	internal     = &Failure{500, "INTERNAL_ERROR", "Something went wrong."}
)

// Tokens remembers the users of tokens that were verified, by the whole header, until they expire.
type Tokens struct {
	lock       sync.RWMutex
	remembered map[string]verified
}

type verified struct {
	user  string
	until int64
}

var tokens = Tokens{remembered: map[string]verified{}}

func (tokens *Tokens) user(authorization string) (string, error) {
	now := time.Now().Unix()
	tokens.lock.RLock()
	known, found := tokens.remembered[authorization]
	tokens.lock.RUnlock()
	if found && known.until > now {
		return known.user, nil
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	user, expires, ok := verify(token)
	if !ok || !strings.EqualFold(scheme, "bearer") || expires+leewaySeconds <= now {
		return "", unauthorized
	}
	tokens.lock.Lock()
	defer tokens.lock.Unlock()
	if len(tokens.remembered) >= maxRemembered {
		for any := range tokens.remembered {
			delete(tokens.remembered, any)
			break
		}
	}
	tokens.remembered[authorization] = verified{user, expires + leewaySeconds}
	return user, nil
}

// verify checks a token signed with HS256 (RFC 7515, section 5.2) and returns its user and when it expires.
func verify(token string) (string, int64, bool) {
	head, rest, _ := strings.Cut(token, ".")
	claims, signature, found := strings.Cut(rest, ".")
	if !found {
		return "", 0, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var said struct {
		UserID    *string `json:"user_id"`
		Subject   string  `json:"sub"`
		Expires   *int64  `json:"exp"`
		NotBefore int64   `json:"nbf"`
	}
	signed, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !decoded(head, &header) || header.Algorithm != "HS256" {
		return "", 0, false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(token[:len(head)+1+len(claims)]))
	if !hmac.Equal(mac.Sum(nil), signed) || !decoded(claims, &said) || said.Expires == nil {
		return "", 0, false
	}
	user := said.Subject
	if said.UserID != nil {
		user = *said.UserID
	}
	return user, *said.Expires, user != "" && said.NotBefore <= time.Now().Unix()+leewaySeconds
}

func decoded(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

func content(response http.ResponseWriter, request *http.Request) (string, *string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxBodyBytes))
	if err != nil {
		return "", nil, tooLarge
	}
	if !utf8.Valid(body) {
		return "", nil, badRequest
	}
	var said Content
	if err := json.Unmarshal(body, &said); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return "", nil, badContent
		}
		return "", nil, badRequest
	}
	if said.Title == nil || (said.Description != nil && strings.Contains(*said.Description, "\x00")) {
		return "", nil, badContent
	}
	title := strings.TrimSpace(*said.Title)
	if length := utf8.RuneCountInString(title); length < 1 || length > 500 || strings.Contains(title, "\x00") {
		return "", nil, badContent
	}
	return title, said.Description, nil
}

func (task *Task) scan(row pgx.Row) error {
	return row.Scan(
		&task.ID, &task.UID, &task.UserID, &task.Title, &task.Description, &task.Completed, &task.CompletedAt,
		&task.ListID, &task.ParentID, &task.Position, &task.StartDate, &task.DueDate, &task.DueTime, &task.TimeZone,
		&task.DueAt, &task.Priority, (*[]byte)(&task.Labels), &task.EstimateMinutes, (*[]byte)(&task.Extra),
		&task.CreatedAt, &task.UpdatedAt,
	)
}

func many(ctx context.Context, statement string, values ...any) ([]Task, error) {
	rows, err := pool.Query(ctx, statement, values...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tasks := []Task{}
	for rows.Next() {
		var task Task
		if err := task.scan(rows); err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, rows.Err()
}

func one(ctx context.Context, statement string, values ...any) (*Task, error) {
	var task Task
	err := task.scan(pool.QueryRow(ctx, statement, values...))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound
	}
	return &task, err
}

// answer returns what a request is answered with: a status and the data.
func answer(response http.ResponseWriter, request *http.Request) (int, any, error) {
	user, err := tokens.user(request.Header.Get("Authorization"))
	if err != nil {
		return 0, nil, err
	}
	path := strings.TrimPrefix(request.URL.Path, "/api/tasks")
	if path == request.URL.Path || (path != "" && path[0] != '/') {
		return 0, nil, notFound
	}
	ctx := request.Context()
	text, action, acts := strings.Cut(strings.Trim(path, "/"), "/")
	if text == "" {
		return collection(ctx, response, request, user)
	}
	if acts && action != "complete" {
		return 0, nil, notFound
	}
	if !plainInteger.MatchString(text) {
		return 0, nil, badID
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, nil, notFound
	}
	var task *Task
	switch {
	case request.Method == http.MethodGet && !acts:
		task, err = one(ctx, getTask, user, id)
	case request.Method == http.MethodPut && !acts:
		title, description, failure := content(response, request)
		if failure != nil {
			return 0, nil, failure
		}
		task, err = one(ctx, replaceTask, user, id, title, description)
	case request.Method == http.MethodPatch && acts:
		task, err = one(ctx, toggleTask, user, id)
	default:
		err = notAllowed
	}
	return 200, task, err
}

func collection(
	ctx context.Context, response http.ResponseWriter, request *http.Request, user string,
) (int, any, error) {
	switch request.Method {
	case http.MethodGet:
		tasks, err := many(ctx, listTasks, user)
		return 200, tasks, err
	case http.MethodPost:
		title, description, err := content(response, request)
		if err != nil {
			return 0, nil, err
		}
		task, err := one(ctx, createTask, user, title, description)
		if err == nil {
			response.Header().Set("Location", "/api/tasks/"+strconv.FormatInt(task.ID, 10))
		}
		return 201, task, err
	}
	return 0, nil, notAllowed
}

func serve(response http.ResponseWriter, request *http.Request) {
	header := response.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Vary", "Origin")
	header.Set("X-Request-Id", requestID(request.Header.Get("X-Request-Id")))
	if from := request.Header.Get("Origin"); from != "" && from == origin {
		header.Set("Access-Control-Allow-Origin", from)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	status, data, err := answer(response, request)
	var whole any = Data{data}
	if err != nil {
		failure := internal
		if !errors.As(err, &failure) {
			log.Print(err)
		}
		if failure == unauthorized {
			header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		}
		status, whole = failure.status, Error{failure}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(whole); err != nil {
		log.Print(err)
	}
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	response.WriteHeader(status)
	response.Write(body.Bytes())
}

func requestID(sent string) string {
	if sent != "" {
		return sent
	}
	var random [16]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns = maxConnections
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	if pool, err = pgxpool.ConnectConfig(context.Background(), config); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Addr:              os.Getenv("HOST") + ":" + os.Getenv("PORT"),
		Handler:           http.HandlerFunc(serve),
		ReadHeaderTimeout: 5 * time.Second,
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-stopped
		server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	pool.Close()
}
